"""What ops that move numbers about are: element by element, or as NumPy has them."""

import itertools
import math
from typing import Any

import numpy as np


def along(x: Any, dim: int, rows: Any) -> Any:
    """The slices of x along an axis that `rows` names."""
    return np.moveaxis(np.stack([np.moveaxis(x, dim, 0)[i] for i in rows]), 0, dim)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if not x.ndim:
        return x.reshape(1)
    end = end_dim % x.ndim + 1
    return x.reshape(*x.shape[:start_dim], math.prod(x.shape[start_dim:end]), *x.shape[end:])


def unflatten(x: Any, dim: int, sizes: Any) -> Any:
    dim %= x.ndim
    known = math.prod(n for n in sizes if n >= 0)
    sizes = [x.shape[dim] // known if n < 0 else n for n in sizes]
    return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def squeeze(x: Any, dim: Any = None) -> Any:
    axes = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = [a % x.ndim for a in axes if x.shape[a] == 1]
    return x.reshape([n for a, n in enumerate(x.shape) if a not in gone])


def expand(x: Any, shape: Any) -> Any:
    lead = len(shape) - x.ndim
    full = [x.shape[i - lead] if n == -1 else n for i, n in enumerate(shape)]
    return x + np.zeros(full)


def roll(x: Any, shifts: Any, dims: Any = None) -> Any:
    if dims is None:
        flat = x.reshape(-1)
        return np.array([flat[(i - shifts) % x.size] for i in range(x.size)]).reshape(x.shape)
    pairs = [(shifts, dims)] if isinstance(dims, int) else zip(shifts, dims, strict=True)
    for shift, dim in pairs:
        n = x.shape[dim]
        x = along(x, dim, [(i - shift) % n for i in range(n)])
    return x


def on_diagonal(shape: Any, offset: int, dim1: int, dim2: int) -> list[tuple[int, int]]:
    rows, columns = shape[dim1], shape[dim2]
    return [(i, i + offset) for i in range(rows) if 0 <= i + offset < columns]


def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    moved = np.moveaxis(x, (dim1, dim2), (0, 1))
    found = [moved[i, j] for i, j in on_diagonal(x.shape, offset, dim1, dim2)]
    return np.stack(found, -1) if found else np.zeros((*moved.shape[2:], 0))


def put_diagonal(g: Any, shape: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    out = np.zeros(shape)
    moved = np.moveaxis(out, (dim1, dim2), (0, 1))
    for k, (i, j) in enumerate(on_diagonal(shape, offset, dim1, dim2)):
        moved[i, j] = g[..., k]
    return out


def diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    n, axes = x.shape[-1] + abs(offset), x.ndim + 1
    dim1, dim2 = dim1 % axes, dim2 % axes
    rest = iter(x.shape[:-1])
    shape = [n if a in (dim1, dim2) else next(rest) for a in range(axes)]
    return put_diagonal(x, shape, offset, dim1, dim2)


def triangle(keep: Any) -> Any:
    def cut(x: Any, diagonal: int = 0) -> Any:
        rows, columns = np.indices(x.shape[-2:])
        return np.where(keep(columns - rows, diagonal), x, 0)

    return cut


def taken(x: Any, index: Any) -> Any:
    """x[index], number first where PyTorch and NumPy differ: an index by one integer is a view."""
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(i, np.ndarray) for i in index) and type(index[0]) is int:
        return x[index[0]][index[1:]]
    return x[index]


def put_zeros(g: Any, index: Any, shape: Any) -> Any:
    places = taken(np.arange(math.prod(shape)).reshape(shape), index)
    out = np.zeros(math.prod(shape))
    for place, value in zip(np.ravel(places), np.broadcast_to(g, places.shape).flat, strict=True):
        out[place] += value
    return out.reshape(shape)


def index_put(x: Any, index: Any, value: Any) -> Any:
    places = taken(np.arange(x.size).reshape(x.shape), index)
    out = np.array(x, order="C")
    trimmed = np.asarray(value)
    while trimmed.ndim > places.ndim:
        trimmed = trimmed[0]
    for place, v in zip(np.ravel(places), np.broadcast_to(trimmed, places.shape).flat, strict=True):
        out.reshape(-1)[place] = v
    return out


def index_add(x: Any, dim: int, index: Any, source: Any, alpha: float = 1) -> Any:
    out = np.moveaxis(np.array(x), dim, 0)
    for i, row in zip(index, np.moveaxis(source, dim, 0), strict=True):
        out[i] += alpha * row
    return np.moveaxis(out, 0, dim)


def repeat_interleave(x: Any, repeats: Any, dim: Any = None) -> Any:
    if dim is None:
        x, dim = x.reshape(-1), 0
    n = x.shape[dim]
    rows = [i for i, k in enumerate(np.broadcast_to(repeats, n)) for _ in range(k)]
    if rows:
        return along(x, dim, rows)
    return np.zeros([0 if a == dim % x.ndim else m for a, m in enumerate(x.shape)])


def pointed(dim: int, at: Any, where: Any) -> Any:
    """The place `at` with its number along `dim` replaced."""
    dim %= len(at)
    return (*at[:dim], int(where), *at[dim + 1 :])


def gather(x: Any, dim: int, index: Any) -> Any:
    out = np.zeros(index.shape, x.dtype)
    for at in np.ndindex(index.shape):
        out[at] = x[pointed(dim, at, index[at])]
    return out


def scatter(add: bool) -> Any:
    def write(x: Any, dim: int, index: Any, src: Any = None, value: Any = None) -> Any:
        out, src = np.array(x), value if src is None else src
        for at in np.ndindex(index.shape):
            place = pointed(dim, at, index[at])
            v = src if np.ndim(src) == 0 else src[at]
            out[place] = out[place] + v if add else v
        return out

    return write


def take_along_dim(x: Any, indices: Any, dim: Any = None) -> Any:
    if dim is None:
        return x.reshape(-1)[indices.reshape(-1)].reshape(indices.shape)
    dim %= x.ndim
    rest = [max(a, b) for a, b in zip(x.shape, indices.shape, strict=True)]
    shape = lambda array: [array.shape[a] if a == dim else n for a, n in enumerate(rest)]  # noqa: E731
    return gather(np.broadcast_to(x, shape(x)), dim, np.broadcast_to(indices, shape(indices)))


def masked_select(x: Any, mask: Any) -> Any:
    x, mask = np.broadcast_arrays(x, mask)
    return np.array([v for v, m in zip(x.flat, mask.flat, strict=True) if m])


def nonzero(x: Any, as_tuple: bool = False) -> Any:
    places = [at for at in np.ndindex(x.shape) if x[at] != 0]
    table = np.array(places, int).reshape(len(places), x.ndim)
    return tuple(table.T) if as_tuple else table


def one_hot(x: Any, num_classes: int = -1) -> Any:
    n = int(x.max()) + 1 if num_classes < 0 else num_classes
    return (x[..., None] == np.arange(n)).astype(int)


def cat(tensors: Any, dim: int = 0) -> Any:
    parts = [x for x in tensors if x.shape != (0,)]
    rows = [row for x in parts for row in np.moveaxis(x, dim, 0)]
    return np.moveaxis(np.stack(rows), 0, dim)


def split(x: Any, sizes: Any, dim: int = 0) -> Any:
    n, rows = x.shape[dim], np.moveaxis(x, dim, 0)
    if isinstance(sizes, int):
        sizes = [min(sizes, n - i) for i in range(0, n, sizes)] or [0]
    ends = list(itertools.accumulate(sizes))
    return tuple(
        np.moveaxis(rows[end - size : end], 0, dim) for size, end in zip(sizes, ends, strict=True)
    )


def chunk(x: Any, chunks: int, dim: int = 0) -> Any:
    n = x.shape[dim]
    return split(x, -(-n // chunks), dim) if n else split(x, [0] * chunks, dim)


_BEYOND = {
    "reflect": lambda i, n: (n - 1) - abs((n - 1) - abs(i)),
    "replicate": lambda i, n: min(max(i, 0), n - 1),
    "circular": lambda i, n: i % n,
}


def pad(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    for k in range(len(pad) // 2):
        axis, (before, after) = x.ndim - 1 - k, pad[2 * k : 2 * k + 2]
        n = x.shape[axis]
        if mode != "constant":
            places = [_BEYOND[mode](i, n) for i in range(-before, n + after)]
            x = along(x, axis, places)
            continue
        rows, blank = np.moveaxis(x, axis, 0), np.full_like(np.moveaxis(x, axis, 0)[:1], value or 0)
        out = [rows[i] if 0 <= i < n else blank[0] for i in range(-before, n + after)]
        x = np.moveaxis(np.stack(out), 0, axis) if out else np.take(x, [], axis)
    return x


def resample_back(g: Any, index: Any, dim: int, size: int) -> Any:
    shape = [size if a == dim else n for a, n in enumerate(g.shape)]
    out = np.zeros(shape)
    for k, i in enumerate(index):
        np.moveaxis(out, dim, 0)[i] += np.moveaxis(g, dim, 0)[k]
    return out


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
    recompute_scale_factor: bool = False,
) -> Any:
    axes = input.ndim - 2
    many = lambda v: tuple(v) if isinstance(v, tuple) else (v,) * axes  # noqa: E731
    for k in range(axes):
        n = input.shape[2 + k]
        m = many(size)[k] if size is not None else math.floor(n * many(scale_factor)[k])
        scale = n / m
        if size is None and not recompute_scale_factor:
            scale = 1 / many(scale_factor)[k]
        if n == m:
            continue
        if mode == "nearest":
            input = along(input, 2 + k, [min(int(i * scale), n - 1) for i in range(m)])
            continue
        rows, out = np.moveaxis(input, 2 + k, 0), []
        for i in range(m):
            at = max((i + 0.5) * scale - 0.5, 0)
            if align_corners:
                at = i * (n - 1) / (m - 1) if m > 1 else 0
            low = min(int(at), n - 1)
            t = min(at - low, 1)
            out.append((1 - t) * rows[low] + t * rows[min(low + 1, n - 1)])
        input = np.moveaxis(np.stack(out), 0, 2 + k)
    return input


# ---- order --------------------------------------------------------------------------------------


def ranked(x: Any, dim: int = -1, descending: bool = False) -> Any:
    """The places of the elements of x along an axis, in their order."""
    if not x.ndim:
        return np.zeros((), int)
    key = -x.astype(float) if descending else x.astype(float)
    rows = np.moveaxis(key, dim, -1)
    out = np.zeros(rows.shape, int)
    for at in np.ndindex(rows.shape[:-1]):
        out[at] = sorted(range(rows.shape[-1]), key=rows[at].__getitem__)
    return np.moveaxis(out, -1, dim)


def at_places(x: Any, places: Any, dim: int) -> Any:
    return gather(x, dim, places) if x.ndim else x


def extreme(largest: bool) -> Any:
    def find(x: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
        if isinstance(dim, np.ndarray) or other is not None:
            y = dim if other is None else other
            return np.where((x > y) == largest, x, y)
        if dim is None:
            return np.array(sorted(x.flat)[-1 if largest else 0])
        return picked_by_rank(x, dim, keepdim, 0, largest)

    return find


def picked_by_rank(x: Any, dim: int, keepdim: bool, rank: int, descending: bool = False) -> Any:
    if not x.ndim:
        return x, np.zeros((), int)
    places = np.take(ranked(x, dim, descending), [rank], dim)
    values = at_places(x, places, dim)
    return (values, places) if keepdim else (np.squeeze(values, dim), np.squeeze(places, dim))


def arg(largest: bool) -> Any:
    def find(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            place = ranked(x.reshape(-1), 0, largest)[0]
            return np.full((1,) * x.ndim, place) if keepdim else place
        return picked_by_rank(x, dim, keepdim, 0, largest)[1]

    return find


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    if not x.ndim:
        return x, np.zeros((), int)
    places = np.take(ranked(x, dim, largest), range(k), dim)
    return at_places(x, places, dim), places


def median(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    if dim is None:
        return np.array(sorted(x.flat)[(x.size - 1) // 2])
    middle = (x.shape[dim] - 1) // 2 if x.ndim else 0
    return picked_by_rank(x, dim, keepdim, middle)


def sort(x: Any, dim: int = -1, descending: bool = False) -> Any:
    places = ranked(x, dim, descending)
    return at_places(x, places, dim), places


DEFINITIONS = {
    "reshape": lambda x, shape: np.array(list(x.flat)).reshape(shape),
    "view": lambda x, shape: np.array(list(x.flat)).reshape(shape),
    "flatten": flatten,
    "unflatten": unflatten,
    "squeeze": squeeze,
    "unsqueeze": lambda x, dim: np.stack([x], dim),
    "permute": lambda x, dims: np.moveaxis(x, dims, range(x.ndim)),
    "transpose": lambda x, dim0, dim1: np.swapaxes(x, dim0, dim1),
    "swapaxes": lambda x, axis0, axis1: np.swapaxes(x, axis0, axis1),
    "t": lambda x: x.T,
    "movedim": lambda x, source, destination: np.moveaxis(x, source, destination),
    "expand": expand,
    "broadcast_to": expand,
    "repeat": lambda x, sizes: np.tile(x, sizes),
    "tile": lambda x, dims: np.tile(x, dims),
    "flip": lambda x, dims: np.flip(x, dims),
    "roll": roll,
    "clone": lambda x, memory_format=None: x,
    "contiguous": lambda x, memory_format=None: x,
    "diagonal": diagonal,
    "put_diagonal": put_diagonal,
    "diag_embed": diag_embed,
    "diag": lambda x, diagonal=0: np.diag(x, diagonal),
    "tril": triangle(lambda above, k: above <= k),
    "triu": triangle(lambda above, k: above >= k),
    "getitem": taken,
    "put_zeros": put_zeros,
    "index_put": index_put,
    "narrow": lambda x, dim, start, length: np.take(
        x, range(start % x.shape[dim], start % x.shape[dim] + length), dim
    ),
    "select": lambda x, dim, index: np.moveaxis(x, dim, 0)[index],
    "index_select": lambda x, dim, index: np.take(x, index, dim),
    "index_add": index_add,
    "repeat_interleave": repeat_interleave,
    "gather": gather,
    "scatter": scatter(add=False),
    "scatter_add": scatter(add=True),
    "take_along_dim": take_along_dim,
    "take": lambda x, index: np.array([x.reshape(-1)[i] for i in index.flat]).reshape(index.shape),
    "masked_select": masked_select,
    "nonzero": nonzero,
    "one_hot": one_hot,
    "cat": cat,
    "stack": lambda tensors, dim=0: np.stack(tensors, dim),
    "split": split,
    "chunk": chunk,
    "unbind": lambda x, dim=0: tuple(np.moveaxis(x, dim, 0)),
    "constant_pad_nd": lambda x, around, value=0: pad(x, around, value=value),
    "pad": pad,
    "resample": lambda x, index, dim: along(x, dim, index),
    "resample_back": resample_back,
    "interpolate": interpolate,
    "picked": lambda x, indices, dim: gather(x, dim, indices),
    "put_picked": lambda g, shape, indices, dim: scatter(add=False)(
        np.zeros(shape), dim, indices, g
    ),
    "argmax": arg(largest=True),
    "argmin": arg(largest=False),
    "max": extreme(largest=True),
    "min": extreme(largest=False),
    "argsort": ranked,
    "sort": sort,
    "topk_indices": lambda x, k, dim, largest: topk(x, k, dim, largest)[1],
    "topk": topk,
    "median_of_all": median,
    "median_index": lambda x, dim: median(x, dim, True)[1],
    "median": median,
}
