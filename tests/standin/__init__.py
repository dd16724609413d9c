"""A stand-in for CuPy on the CPU, stricter than NumPy wherever CuPy is: for tests without a GPU.

- nothing moves between host and device by itself: `asarray` in, `asnumpy` out, else TypeError
- reductions and single elements are arrays without axes, never NumPy's scalars
- names and keywords that CuPy lacks are refused (`api.json`, read off CuPy by `record.py`)
- what is computed lies in C order whatever the arguments' order; `empty` holds NaN, not zeros
- an index out of range wraps round instead of raising, and of values written to one place the first
  stays, where NumPy keeps the last (CuPy: any of them)
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SCALARS = (bool, int, float, complex, np.generic)
_API: dict[str, list[str] | None] = json.loads((Path(__file__).parent / "api.json").read_text())
# Whose results keep the layout of their argument in CuPy, or have the one that was asked for.
_KEEP_LAYOUT = {"zeros_like", "ones_like", "full_like", "astype", "copy", "asfortranarray"}
_REFUSED = {"einsum": {"out", "order", "dtype", "casting"}}  # CuPy's signature does not say so
_ARITHMETIC = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift divmod"
# The methods of CuPy's arrays with the keywords that they take: none has `where` or `initial`.
_METHODS = {
    "nonzero": "", "reshape": "order", "transpose": "", "swapaxes": "", "ravel": "order",
    "flatten": "order", "squeeze": "axis", "view": "dtype",
    "astype": "dtype order casting subok copy", "copy": "order",
    "sum": "axis dtype out keepdims", "prod": "axis dtype out keepdims",
    "mean": "axis dtype out keepdims", "var": "axis dtype out ddof keepdims",
    "std": "axis dtype out ddof keepdims", "max": "axis out keepdims", "min": "axis out keepdims",
    "argmax": "axis out dtype keepdims", "argmin": "axis out dtype keepdims",
    "all": "axis out keepdims", "any": "axis out keepdims", "cumsum": "axis dtype out",
    "cumprod": "axis dtype out", "clip": "min max out", "repeat": "repeats axis",
    "take": "indices axis out", "diagonal": "offset axis1 axis2",
    "trace": "offset axis1 axis2 dtype out", "round": "decimals out", "argsort": "axis",
}  # fmt: skip


def _host(x: Any) -> Any:
    """The NumPy array inside; anything from the host but plain numbers is refused."""
    if isinstance(x, ndarray):
        return x.inside
    if isinstance(x, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(x, (list, tuple)):
        return type(x)([_host(i) for i in x])
    return x


def _device(x: Any) -> Any:
    if isinstance(x, (np.ndarray, np.generic)):
        return ndarray(np.asarray(x))
    if isinstance(x, (list, tuple)):
        return type(x)([_device(i) for i in x])
    return x


def _run(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    args = tuple([_host(a) for a in args])
    options = {k: _host(v) for k, v in options.items()}
    with np.errstate(all="ignore"):  # a GPU warns of nothing
        result = function(*args, **options)
    if getattr(function, "__name__", "") in _KEEP_LAYOUT or options.get("out") is not None:
        return _device(result)
    return _device(_in_c_order(result, [a for a in _leaves(args) if isinstance(a, np.ndarray)]))


def _leaves(tree: Any) -> Iterator[Any]:
    for leaf in tree:
        if isinstance(leaf, (list, tuple)):
            yield from _leaves(leaf)
        else:
            yield leaf


def _in_c_order(result: Any, arguments: list[np.ndarray]) -> Any:
    """What was computed, in C order; a view of an argument stays as it is."""
    if isinstance(result, (list, tuple)):
        return type(result)([_in_c_order(r, arguments) for r in result])
    if not isinstance(result, np.ndarray) or any(np.may_share_memory(result, a) for a in arguments):
        return result
    return np.ascontiguousarray(result).reshape(result.shape)


class ndarray:
    """An array "on the device"."""

    __slots__ = ("__weakref__", "inside")
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, inside: np.ndarray) -> None:
        self.inside = inside

    shape = property(lambda self: self.inside.shape)
    dtype = property(lambda self: self.inside.dtype)
    ndim = property(lambda self: self.inside.ndim)
    size = property(lambda self: self.inside.size)
    nbytes = property(lambda self: self.inside.nbytes)
    itemsize = property(lambda self: self.inside.itemsize)
    strides = property(lambda self: self.inside.strides)
    flags = property(lambda self: self.inside.flags)
    T = property(lambda self: ndarray(self.inside.T))
    mT = property(lambda self: ndarray(self.inside.mT))

    @property
    def base(self) -> Any:
        return self.inside if self.inside.base is None else self.inside.base

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use `.get()`")

    def __array_function__(self, function: Any, *rest: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} called on an array of a device")

    def __len__(self) -> int:
        return len(self.inside)

    def __iter__(self) -> Iterable[Any]:
        return (self[i] for i in range(len(self)))

    def get(self) -> np.ndarray:
        return self.inside.copy()

    def item(self) -> Any:
        return self.inside.item()

    def tolist(self) -> Any:
        return self.inside.tolist()

    def fill(self, value: Any) -> None:
        self.inside.fill(_host(value))

    def __bool__(self) -> bool:
        return bool(self.inside)

    def __int__(self) -> int:
        return int(self.inside)

    def __float__(self) -> float:
        return float(self.inside)

    def __repr__(self) -> str:
        return f"standin({self.inside!r})"

    def _index(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        ellipses = sum(1 for k in keys if k is Ellipsis)
        found, axis = [], 0
        for k in keys:
            if isinstance(k, (np.ndarray, list)):
                raise TypeError("an index from the host is copied to the device at each call")
            if k is Ellipsis or k is None:
                if k is Ellipsis:
                    axis = self.ndim - _axes_taken(keys[len(found) + 1 :])
                found.append(k)
                continue
            if isinstance(k, ndarray):
                if k.dtype == bool:
                    found.append(k.inside)
                    axis += k.ndim
                    continue
                k = k.inside % max(self.shape[axis], 1)
            found.append(k)
            axis += 1
        assert ellipses <= 1
        return tuple(found)

    def __getitem__(self, key: Any) -> "ndarray":
        index = self._index(key)
        found = self.inside[index]
        if np.ndim(found) == 0 and not isinstance(found, np.ndarray):
            found = self.inside[(*index, ...)]  # a view without axes, as in CuPy
        return ndarray(_in_c_order(found, [self.inside]))

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(value, (ndarray, *SCALARS)):
            raise TypeError(f"Unsupported type {type(value)}")
        index, value = self._index(key), _host(value)
        with np.errstate(all="ignore"):
            if any(isinstance(k, np.ndarray) and k.dtype != bool for k in index):
                places = np.arange(self.size).reshape(self.shape)[index]
                values = np.broadcast_to(value, places.shape)
                any_order = np.random.default_rng(places.size).permutation(places.size)
                order = np.unravel_index(places.reshape(-1)[any_order], self.shape)
                self.inside[order] = values.reshape(-1)[any_order]  # which of several stays is luck
            else:
                self.inside[index] = value


def _axes_taken(keys: tuple[Any, ...]) -> int:
    return sum(k.ndim if isinstance(k, ndarray) and k.dtype == bool else 1 for k in keys
               if k is not None)  # fmt: skip


def _operator(name: str) -> Callable[..., Any]:
    def call(self: ndarray, other: Any) -> Any:
        if not isinstance(other, (ndarray, *SCALARS)):
            if isinstance(other, np.ndarray):
                raise TypeError("Unsupported type <class 'numpy.ndarray'>")
            return NotImplemented
        return _run(getattr(np.ndarray, name), self, other)

    return call


def _in_place(name: str) -> Callable[..., Any]:
    def call(self: ndarray, other: Any) -> ndarray:
        if not isinstance(other, (ndarray, *SCALARS)):
            raise TypeError(f"Unsupported type {type(other)}")
        with np.errstate(all="ignore"):
            getattr(self.inside, name)(_host(other))
        return self

    return call


def _method(name: str, keywords: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)

    def call(self: ndarray, *args: Any, **options: Any) -> Any:
        if strange := options.keys() - set(keywords.split()):
            raise TypeError(f"cupy.ndarray.{name}() has no keyword {sorted(strange)}")
        return _run(function, self, *args, **options)

    return call


def _unary(name: str) -> Callable[..., Any]:
    return lambda self: _run(getattr(np.ndarray, name), self)


for _name in _ARITHMETIC.split():
    for _spelling in (f"__{_name}__", f"__r{_name}__"):
        setattr(ndarray, _spelling, _operator(_spelling))
    if _name not in ("matmul", "divmod"):
        setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in ["lt", "le", "gt", "ge", "eq", "ne"]:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in ["neg", "pos", "abs", "invert"]:
    setattr(ndarray, f"__{_name}__", _unary(f"__{_name}__"))
for _name, _keywords in _METHODS.items():
    setattr(ndarray, _name, _method(_name, _keywords))


def asarray(x: Any, dtype: Any = None, order: Any = None) -> ndarray:
    """An array of the device: itself, or a copy of what is on the host."""
    if isinstance(x, ndarray):
        return x if dtype is None or x.dtype == dtype else x.astype(dtype)
    return ndarray(np.array(_host_list(x), dtype, order=order or "K"))


def array(x: Any, dtype: Any = None, copy: bool = True, order: Any = "K") -> ndarray:
    """As `asarray`, always a copy."""
    return ndarray(np.array(x.inside if isinstance(x, ndarray) else x, dtype, order=order))


def _host_list(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return [_host_list(i) for i in x]
    return x.inside if isinstance(x, ndarray) else x


def asnumpy(x: Any) -> np.ndarray:
    """A copy on the host."""
    return x.get() if isinstance(x, ndarray) else np.asarray(x)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """Memory that nobody wrote to: NaN, or the largest number."""
    found = np.empty(shape, dtype, order)
    found.fill(np.nan if found.dtype.kind == "f" else 1 if found.dtype == bool else 77)
    return ndarray(found)


def empty_like(x: ndarray, dtype: Any = None) -> ndarray:
    """As `empty`, of the shape of x, in C order."""
    return empty(x.shape, dtype or x.dtype)


class _Ufunc:
    def __init__(self, name: str) -> None:
        self.function, self.name = getattr(np, name), name

    def __call__(self, *args: Any, out: Any = None, **options: Any) -> Any:
        if strange := options.keys() - {"dtype", "casting"}:
            raise TypeError(f"Wrong arguments {strange}")
        for a in args:
            if not isinstance(a, (ndarray, *SCALARS)):
                raise TypeError(f"Unsupported type {type(a)}")
        if out is not None:
            _run(self.function, *args, out=out, **options)
            return out
        return _run(self.function, *args, **options)

    def reduce(self, x: ndarray, axis: Any = 0, dtype: Any = None, keepdims: bool = False) -> Any:
        if self.name not in ("add", "multiply"):
            raise NotImplementedError(f"{self.name}.reduce is not supported")
        return _run(self.function.reduce, x, axis=axis, dtype=dtype, keepdims=keepdims)

    def at(self, x: ndarray, index: Any, values: Any = None) -> None:
        raise AssertionError(f"{self.name}.at on a GPU: the order of its sums changes by the run")


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"module 'cupy' has no attribute {name!r}")
    found = getattr(np, name)
    if isinstance(found, np.ufunc):
        return _Ufunc(name)
    if isinstance(found, type) or not callable(found):
        return found
    allowed = _API[name]

    def call(*args: Any, **options: Any) -> Any:
        strange = options.keys() - set(allowed) if allowed is not None else set()
        if strange := strange | (options.keys() & _REFUSED.get(name, set())):
            raise TypeError(f"cupy.{name}() has no keyword {sorted(strange)}")
        return _run(found, *args, **options)

    return call


class lib:
    """CuPy's `lib`, as far as minidl uses it."""

    class stride_tricks:
        """Views by strides; CuPy's has no `writeable` and no `subok`."""

        @staticmethod
        def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
            return ndarray(np.lib.stride_tricks.as_strided(x.inside, shape, strides))

        @staticmethod
        def sliding_window_view(x: ndarray, window_shape: Any, axis: Any = None) -> ndarray:
            return ndarray(np.lib.stride_tricks.sliding_window_view(x.inside, window_shape, axis))
