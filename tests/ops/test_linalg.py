"""Products: error texts, einsum against NumPy's, and the edges."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import ops
from minidl.errors import DtypeError, ShapeError
from minidl_kernels.cpu import threads


def T(*shape: int, dtype: str = "float64") -> Any:
    return minidl.tensor(np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype))


def plain(x: Any) -> Any:
    return np.asarray(x.data)


@pytest.mark.parametrize(
    ("f", "error", "text"),
    [
        (
            lambda: ops.matmul(T(32, 784), T(128, 784)),
            ShapeError,
            "matmul: inner sizes differ: x is (32, 784), y is (128, 784); did you mean y.T?",
        ),
        (lambda: ops.matmul(T(2, 3), T(2, 4)), ShapeError, "x is (2, 3), y is (2, 4)"),
        (lambda: ops.matmul(T(2), T()), ShapeError, "use * for scalars"),
        (lambda: ops.mm(T(2, 3), T(4, 3)), ShapeError, "mm: inner sizes differ"),
        (lambda: ops.mm(T(2, 3), T(4, 3)), ShapeError, "did you mean y.mT?"),
        (lambda: ops.mm(T(2, 3), T(3)), ShapeError, "mm: y has shape (3,), expected 2 axes"),
        (lambda: ops.mm(T(2, 2, 3), T(3, 2)), ShapeError, "mm: x has shape (2, 2, 3)"),
        (lambda: ops.bmm(T(2, 2, 3), T(1, 3, 2)), ShapeError, "bmm: batches differ"),
        (lambda: ops.bmm(T(2, 3), T(3, 2)), ShapeError, "bmm: x has shape (2, 3), expected 3"),
        (lambda: ops.mv(T(2, 3), T(2)), ShapeError, "mv: inner sizes differ"),
        (lambda: ops.dot(T(2, 3), T(3)), ShapeError, "dot: x has shape (2, 3), expected 1 axes"),
        (lambda: ops.dot(T(2), T(3)), ShapeError, "dot: inner sizes differ"),
        (lambda: ops.outer(T(2), T(3, 1)), ShapeError, "outer: y has shape (3, 1)"),
        (lambda: ops.trace(T(2)), ShapeError, "trace: x has shape (2,), expected a matrix"),
        (lambda: ops.addmm(T(3), T(2, 3), T(3, 4)), ShapeError, "addmm: input (3,) does not"),
        (lambda: ops.addmm(T(1, 2, 4), T(2, 3), T(3, 4)), ShapeError, "addmm: input (1, 2, 4)"),
        (lambda: ops.mm(T(2, 3), T(3, 2, dtype="float32")), DtypeError, "must have one dtype"),
        (lambda: ops.tensordot(T(2, 3), T(2, 3), 1), ShapeError, "tensordot: axes (1,) of a"),
        (lambda: ops.tensordot(T(2, 3), T(3), 2), ShapeError, "tensordot: dims is 2"),
        (lambda: ops.tensordot(T(2, 2), T(2, 2), ([0, 0], [0, 1])), ShapeError, "do not pair"),
        (lambda: ops.einsum("ij,jk", T(2, 3)), ValueError, "has 2 terms, but 1 operands came"),
        (lambda: ops.einsum("ijk", T(2, 3)), ShapeError, "'ijk' has 3 letters, but operand 0"),
        (lambda: ops.einsum("i...", T()), ShapeError, "operand 0 has shape ()"),
        (lambda: ops.einsum("ij,jk", T(2, 3), T(4, 2)), ShapeError, "'j' is 3, but 4 in operand 1"),
        (lambda: ops.einsum("ii", T(2, 3)), ShapeError, "'i' is 2, but 3 in operand 0"),
        (lambda: ops.einsum("ii", T(1, 3)), ShapeError, "'i' stands for axes of different"),
        (lambda: ops.einsum("i1", T(2, 3)), ValueError, "'i1' in 'i1' is no term"),
        (lambda: ops.einsum("i......", T(2, 3)), ValueError, "is no term"),
        (lambda: ops.einsum("ij->k", T(2, 3)), ValueError, "'k' stands twice, or in no operand"),
        (lambda: ops.einsum("ij->ii", T(2, 3)), ValueError, "'i' stands twice, or in no operand"),
        (lambda: ops.einsum("i->i->i", T(2)), ValueError, "is no term"),
        (lambda: ops.einsum(T(2), "i"), TypeError, "einsum: expected an equation"),
        (
            lambda: ops.einsum("i,i", T(2), T(2, dtype="float32")),
            DtypeError,
            "einsum: operand 0 is float64, operand 1 is float32",
        ),
    ],
)
def test_errors_say_what_is_wrong(f: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        f()
    assert text in str(caught.value)


def test_addmm_does_not_look_at_its_input_where_beta_is_zero() -> None:
    x = minidl.tensor(np.full(3, np.nan))
    assert np.isfinite(plain(ops.addmm(x, T(2, 4), T(4, 3), beta=0))).all()
    assert np.isnan(plain(ops.addmm(x, T(2, 4), T(4, 3), beta=1e-9))).all()


def test_a_permutation_or_diagonal_by_einsum_is_a_view() -> None:
    x = T(3, 3)
    for equation in ("ij->ji", "ii->i"):
        assert np.shares_memory(ops.einsum(equation, x).data, x.data)


def test_whole_numbers_and_float32() -> None:
    x = minidl.tensor(np.arange(4).reshape(2, 2))
    assert ops.mm(x, x).tolist() == [[2, 3], [6, 11]]
    assert ops.trace(x).item() == 3
    assert ops.einsum("ij,ij->i", x, x).tolist() == [1, 13]
    y = T(2, 3, dtype="float32")
    for z in (ops.einsum("ij,ij->", y, y), ops.kron(y, y), ops.tensordot(y, y), ops.mm(y, y.T)):
        assert z.dtype == "float32"


def test_only_tracked_operands_get_a_gradient() -> None:
    x, y = T(2, 3).requires_grad_(), T(3, 2)
    (g,) = minidl.grad(ops.sum(ops.einsum("ij,jk->ik", x, y)), x)
    np.testing.assert_allclose(g.data, np.broadcast_to(plain(y).sum(1), (2, 3)))


@pytest.mark.skipif(threads.cpus() < 2, reason="one CPU")
@pytest.mark.parametrize(
    "shapes",
    [  # two below what is left to BLAS, and such as BLAS has other bits for on two threads
        ((60, 60), (60, 60)), ((8000,), (8000,)), ((64, 5000), (5000, 64)),
        ((17, 3001), (3001, 33)), ((3001,), (3001, 700)), ((700, 3001), (3001,)),
        ((2, 33, 9001), (9001, 9)), ((30000,), (30000,)),
    ],
    ids=str,
)  # fmt: skip
def test_the_same_bits_at_any_number_of_threads(shapes: Any) -> None:
    before, seen = minidl.get_num_threads(), set()
    try:
        for number in (1, 2, 1, 2):
            minidl.set_num_threads(number)
            x, y = (T(*shape, dtype="float32").requires_grad_() for shape in shapes)
            out = x @ y
            ops.sum(out * out).backward()
            seen.add(b"".join(plain(a).tobytes() for a in (out, x.grad, y.grad)))
    finally:
        minidl.set_num_threads(before)
    assert len(seen) == 1


letters = st.sampled_from("abcd")


@given(st.data())
def test_einsum_is_numpys(data: Any) -> None:
    sizes = {c: data.draw(st.integers(1, 3), label=c) for c in "abcd"}
    terms = data.draw(st.lists(st.text(letters, max_size=3), min_size=1, max_size=3))
    dots = data.draw(st.lists(st.integers(0, 2), min_size=len(terms), max_size=len(terms)))
    used = sorted({c for term in terms for c in term})
    out = "".join(data.draw(st.permutations(used)))[: data.draw(st.integers(0, len(used)))]
    rng = np.random.default_rng(0)
    operands = [
        rng.standard_normal([2, 3][2 - n :] + [sizes[c] for c in term])
        for term, n in zip(terms, dots, strict=True)
    ]
    equation = ",".join("..." + term for term in terms)
    if data.draw(st.booleans()):
        equation += "->..." + out
    want = np.einsum(equation, *operands)
    got = ops.einsum(equation, *map(minidl.tensor, operands))
    assert got.shape == want.shape
    np.testing.assert_allclose(plain(got), want, rtol=1e-10, atol=1e-10)


@given(st.lists(st.integers(0, 3), max_size=3), st.lists(st.integers(0, 3), max_size=3))
def test_kron_is_numpys(left: list[int], right: list[int]) -> None:
    x, y = T(*left), T(*right)
    np.testing.assert_allclose(plain(ops.kron(x, y)), np.kron(plain(x), plain(y)))
