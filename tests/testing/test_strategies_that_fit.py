"""Axes, indices, operands, convolutions and poolings fit each other, and come in every kind."""

import numpy as np
import pytest
from drawn_cases import missing, never
from hypothesis import find, given
from hypothesis import strategies as st

from minidl.nn import functional as F
from minidl.testing import strategies as some

# ---- places -------------------------------------------------------------------------------------


@given(some.with_axes(some.arrays()))
def test_axes(pair):
    x, axis = pair
    assert np.sum(x, axis=axis).ndim <= x.ndim  # NumPy raises for axes that are none
    assert axis != ()


def test_axes_vary():
    assert not missing(
        some.axes(3),
        all=lambda a: a is None, single=lambda a: a == 1, last=lambda a: a == -1,
        several=lambda a: isinstance(a, tuple) and len(a) == 2,
        every=lambda a: isinstance(a, tuple) and len(a) == 3,
        unordered=lambda a: isinstance(a, tuple) and a != tuple(sorted(a)),
        both_signs=lambda a: isinstance(a, tuple) and min(a) < 0 <= max(a),
    )  # fmt: skip
    plain = some.axes(3, none=False, several=False, negative=False)
    assert never(plain, lambda a: a not in (0, 1, 2))
    assert never(some.axes(0), lambda a: a is not None)
    with pytest.raises(ValueError, match="nothing to draw"):
        some.axes(0, none=False, several=False)
    assert find(some.axes(0, none=False), lambda a: True) == ()


def parts(index):
    return index if isinstance(index, tuple) else (index,)


def letters(index):
    """For each part a letter: "a" for an array, "n" for none."""
    return ["a" if isinstance(i, np.ndarray) else "n" for i in parts(index)]


def dots_for_nothing(index):
    """Where "..." stands in an index of a tensor of three axes, if it stands for none of them."""
    said = [p for p in parts(index) if p is not None]
    places = [k for k, p in enumerate(said) if p is Ellipsis]
    return places[0] if places and len(said) == 4 else None


def repeats(items):
    return len(set(items)) < len(items)


def arrays_in(index):
    return [i for i in parts(index) if isinstance(i, np.ndarray)]


@given(data=st.data())
def test_indices_fit(data):
    kind = data.draw(st.sampled_from(["basic", "advanced", "boolean", "mixed"]))
    empty, backwards = data.draw(st.booleans()), data.draw(st.booleans())
    x = data.draw(some.arrays(some.shapes(zero_size=data.draw(st.booleans()))))
    index = data.draw(some.indices(x.shape, kind, empty=empty, negative_steps=backwards))
    picked = x[index]
    if x.size and not empty:
        assert picked.size
    if not backwards:
        assert all((i.step or 1) > 0 for i in parts(index) if isinstance(i, slice))
    if x.size and x.ndim:
        kinds = {a.dtype.kind for a in arrays_in(index)}
        assert kinds in {
            "basic": [set()], "advanced": [{"i"}], "boolean": [{"b"}],
            "mixed": [{"i"}, {"b"}, {"i", "b"}],
        }[kind]  # fmt: skip


def test_basic_indices_vary():
    assert not missing(
        some.indices((3, 4, 2), "basic", negative_steps=True),
        number=lambda i: isinstance(i, int), negative=lambda i: isinstance(i, int) and i < 0,
        slice=lambda i: isinstance(i, slice), new=lambda i: None in parts(i),
        dots=lambda i: Ellipsis in parts(i), alone=lambda i: i is Ellipsis,
        dots_within=lambda i: len(parts(i)) > 2 and parts(i)[1] is Ellipsis,
        stepped=lambda i: any(isinstance(p, slice) and p.step == 2 for p in parts(i)),
        backwards=lambda i: any(isinstance(p, slice) and (p.step or 1) < 0 for p in parts(i)),
        from_end=lambda i: any(isinstance(p, slice) and (p.start or 0) < 0 for p in parts(i)),
        nothing=lambda i: i == (), whole=lambda i: np.zeros((3, 4, 2))[i].size == 24,
    )  # fmt: skip
    plain = some.indices((3, 4), "basic", newaxis=False)
    assert never(plain, lambda i: None in parts(i))
    assert not missing(some.indices((3,), empty=True), none=lambda i: np.zeros(3)[i].size == 0)


def test_array_indices_vary():
    assert not missing(
        some.indices((3, 4), "advanced"),
        two_axes=lambda i: len(arrays_in(i)) == 2, flat=lambda i: arrays_in(i)[0].ndim == 1,
        table=lambda i: arrays_in(i)[0].ndim == 2,
        broadcast=lambda i: len({a.shape for a in arrays_in(i)}) == 2,
        repeats=lambda i: len(arrays_in(i)) == 1 and repeats(arrays_in(i)[0].ravel().tolist()),
        negative=lambda i: arrays_in(i)[0].min() < 0, behind=lambda i: parts(i)[0] is Ellipsis,
    )  # fmt: skip
    assert not missing(
        some.indices((3, 4), "boolean"),
        rows=lambda i: i.shape == (3,), all=lambda i: i.shape == (3, 4), one=lambda i: i.sum() == 1,
        some=lambda i: 1 < i.sum() < i.size,
    )  # fmt: skip
    assert not missing(
        some.indices((3, 4, 2), "mixed"),
        mask=lambda i: any(a.dtype == bool for a in arrays_in(i)),
        both=lambda i: len({a.dtype.kind for a in arrays_in(i)}) == 2,
        slice=lambda i: any(isinstance(p, slice) for p in parts(i)),
        apart=lambda i: "an" in "".join(letters(i)).strip("n") and len(arrays_in(i)) > 1,
        new=lambda i: any(p is None for p in parts(i)),
    )  # fmt: skip
    never_between = some.indices((3, 4, 2), ["advanced", "mixed"])
    assert never(never_between, lambda i: dots_for_nothing(i) not in (None, 3))
    assert not missing(never_between, behind=lambda i: dots_for_nothing(i) == 3)
    numbers = some.indices((3, 4, 2), "mixed", numbers_beside_arrays=True)
    assert not missing(numbers, number=lambda i: any(isinstance(p, int) for p in parts(i)))
    assert never(
        some.indices((3, 4, 2), "mixed"), lambda i: any(isinstance(p, int) for p in parts(i))
    )


def test_unknown_kinds_of_indices():
    with pytest.raises(ValueError, match=r"unknown kinds \['fancy'\]"):
        find(some.indices((2,), "fancy"), lambda i: True)


# ---- operands -----------------------------------------------------------------------------------


@given(some.matmul_operands(zero_size=True))
def test_matmul_operands(pair):
    assert np.matmul(*pair).ndim <= 4  # NumPy raises where they do not fit


def test_matmul_operands_vary():
    assert not missing(
        some.matmul_operands(),
        **{str(r): (lambda p, r=r: (p[0].ndim, p[1].ndim) == r)
           for r in [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (4, 1), (3, 2), (2, 4), (4, 4)]},
        stretched=lambda p: p[0].ndim == p[1].ndim == 3 and len(p[0]) != len(p[1]),
    )  # fmt: skip
    plain = some.matmul_operands(vectors=False, batches=False)
    assert never(plain, lambda p: p[0].ndim != 2 or p[1].ndim != 2)


def terms(case):
    return case[0].partition("->")[0].replace(".", "").split(",")


@given(some.einsum_operands())
def test_einsum_operands(case):
    equation, *operands = case
    assert equation.count(",") == len(operands) - 1
    assert np.isfinite(np.einsum(equation, *operands)).all()  # NumPy raises where they do not fit


def test_einsum_operands_vary():
    assert not missing(
        some.einsum_operands(),
        product=lambda c: len(c) == 3 and bool({*terms(c)[0]} & {*terms(c)[1]}),
        three=lambda c: len(c) == 4, implicit=lambda c: "->" not in c[0],
        dots=lambda c: "..." in c[0], diagonal=lambda c: any(map(repeats, terms(c))),
        turned=lambda c: {"ji", "ki", "kj"} & {c[0][-2:]},
        total=lambda c: c[0].endswith("->") and len(c[0]) > 4,
    )  # fmt: skip
    plain = some.einsum_operands(2, diagonals=False, ellipsis=False, implicit=False)
    assert never(
        plain, lambda c: len(c) > 3, lambda c: "->" not in c[0], lambda c: "." in c[0],
        lambda c: any(map(repeats, terms(c))),
    )  # fmt: skip


@given(data=st.data())
def test_sequences(data):
    first, down, zero = data.draw(st.booleans()), data.draw(st.booleans()), data.draw(st.booleans())
    batch = data.draw(
        some.sequences(batch_first=first, descending=down, zero_lengths=zero, padding=np.nan)
    )
    x = batch.x if first else batch.x.swapaxes(0, 1)
    assert x.shape[:2] == (len(batch.lengths), batch.lengths.max()) == batch.mask.shape
    assert batch.lengths.min() >= (0 if zero else 1)
    for sequence, length in zip(x, batch.lengths, strict=True):
        assert np.isfinite(sequence[:length]).all()
        assert np.isnan(sequence[length:]).all()
    if down:
        assert (np.diff(batch.lengths) <= 0).all()


def test_sequences_vary():
    assert not missing(
        some.sequences(zero_lengths=True),
        one=lambda b: b.x.shape[0] == 1, long=lambda b: b.x.shape[1] == 4,
        unequal=lambda b: len(set(b.lengths)) == 3, zero=lambda b: b.lengths.min() == 0,
        up=lambda b: (np.diff(b.lengths) > 0).any(),
    )  # fmt: skip


# ---- convolutions and poolings ------------------------------------------------------------------


def windows(size, kernel, stride, padding, dilation, ceil_mode=False):
    """The places of each window on an axis, from the definition; PyTorch's rule for the last."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return [[i * stride - padding + dilation * k for k in range(kernel)] for i in range(count)]


@given(some.convolutions())
def test_convolutions(case):
    sizes, kernels = case.x.shape[2:], case.weight.shape[2:]
    axes = zip(sizes, kernels, case.stride, case.padding, case.dilation, strict=True)
    each = [windows(*axis) for axis in axes]
    assert all(each)
    assert case.x.shape[1] == case.groups * case.weight.shape[1]
    assert case.weight.shape[0] % case.groups == 0
    assert case.bias is None or case.bias.shape == case.weight.shape[:1]
    assert case.x.size <= 400
    out = (F.conv1d, F.conv2d, F.conv3d)[len(sizes) - 1](*map(on_tape, case))
    assert out.shape == (len(case.x), len(case.weight), *map(len, each))


def on_tape(x):
    from minidl import from_numpy

    return from_numpy(x.copy()) if isinstance(x, np.ndarray) else x


@given(some.transposed_convolutions())
def test_transposed_convolutions(case):
    rank = case.x.ndim - 2
    out = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1](
        *map(on_tape, case)
    )
    assert min(out.shape) >= 1
    assert out.shape[1] == case.weight.shape[1] * case.groups
    for extra, stride in zip(case.output_padding, case.stride, strict=True):
        assert 0 <= extra < stride


@given(some.max_poolings())
def test_max_poolings(case):
    sizes = case.x.shape[2:]
    for size, kernel, stride, padding, dilation in zip(sizes, *case[1:5], strict=True):
        assert padding <= kernel // 2
        for window in windows(size, kernel, stride, padding, dilation, case.ceil_mode):
            assert any(0 <= place < size for place in window), window
    out = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(sizes) - 1](*map(on_tape, case))
    assert min(out.shape) >= 1
    assert np.isfinite(out.numpy()).all()
    assert len(set(case.x.flat)) == case.x.size


@given(some.average_poolings())
def test_average_poolings(case):
    rank = case.x.ndim - 2
    out = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1](*map(on_tape, case))
    assert min(out.shape) >= 1
    assert np.isfinite(out.numpy()).all()


def test_convolutions_vary():
    each = {f"{r} axes": (lambda c, r=r: c.x.ndim == 2 + r) for r in (1, 2, 3)}
    assert not missing(
        some.convolutions(), **each,
        groups=lambda c: c.groups > 1, depthwise=lambda c: c.groups == c.x.shape[1] > 1,
        no_bias=lambda c: c.bias is None, bias=lambda c: c.bias is not None,
        stride=lambda c: max(c.stride) > 1, padding=lambda c: max(c.padding) > 0,
        dilation=lambda c: c.dilation[0] > 1 and c.weight.shape[2] > 1,
        channels_last=lambda c: c.x.shape[1] > 1 and c.x.strides[1] == 8,
        left_over=lambda c: c.weight.shape[2] == c.dilation[0] == 1 and (c.padding[0] == 0)
        and (c.x.shape[2] - 1) % c.stride[0] > 0,
        unequal=lambda c: len(set(c.stride)) > 1,
    )  # fmt: skip
    assert never(some.convolutions(2), lambda c: c.x.ndim != 4)
    assert not missing(
        some.transposed_convolutions(), **each,
        output_padding=lambda c: max(c.output_padding) > 0, groups=lambda c: c.groups > 1,
        padding=lambda c: max(c.padding) > 0, no_bias=lambda c: c.bias is None,
    )  # fmt: skip


def firsts(case, ceil_mode):
    """The windows along the first spatial axis."""
    return windows(case.x.shape[2], *[option[0] for option in case[1:5]], ceil_mode)


def test_poolings_vary():
    each = {f"{r} axes": (lambda c, r=r: c.x.ndim == 2 + r) for r in (1, 2, 3)}
    assert not missing(
        some.max_poolings(), **each,
        overlap=lambda c: any(s < k for s, k in zip(c.stride, c.kernel_size, strict=True)),
        gaps=lambda c: any(s > k for s, k in zip(c.stride, c.kernel_size, strict=True)),
        padding=lambda c: max(c.padding) > 0, dilation=lambda c: max(c.dilation) > 1,
        ceil=lambda c: c.ceil_mode, floor=lambda c: not c.ceil_mode,
        reaches_over=lambda c: c.ceil_mode and len(firsts(c, True)) > len(firsts(c, False)),
    )  # fmt: skip
    assert not missing(
        some.average_poolings(), **each,
        padding=lambda c: max(c.padding) > 0, with_pad=lambda c: c.count_include_pad,
        without=lambda c: not c.count_include_pad and max(c.padding) > 0,
        ceil=lambda c: c.ceil_mode,
    )  # fmt: skip
    tied = some.max_poolings(elements=some.ties)
    assert never(tied, lambda c: c.x.size > 1 and len(set(c.x.flat)) == c.x.size)


@pytest.mark.parametrize(
    "strategy",
    [some.convolutions, some.transposed_convolutions, some.max_poolings, some.average_poolings],
    ids=lambda s: s.__name__,
)
def test_spatial_axes_that_are_none(strategy):
    with pytest.raises(ValueError, match=f"^{strategy.__name__}: axes is 4, expected 1, 2 or 3"):
        find(strategy(4), lambda c: True)
