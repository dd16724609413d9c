"""Methods: the operators, and the ops as methods, that Tensor has by inheriting them.

It is a table, `x.exp()` is `ops.exp(x)`, with a state of its own nowhere: what a Tensor is, and
what it does that no op does, stands in tensor.py.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from minidl import ops
from minidl.errors import DtypeError
from minidl.tape import TensorBase, mode

if TYPE_CHECKING:
    from minidl.tensor import Tensor

__all__ = ["Methods"]


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method that writes what `function(self, …)` gives into the tensor's own memory."""

    def change(self: Any, *args: Any, **options: Any) -> Any:
        given = (self, *args, *options.values())
        tracked = any(isinstance(a, TensorBase) and a.node is not None for a in given)
        # A derivative may need the values that are about to be overwritten: it gets a copy.
        source = ops.clone(self) if tracked and mode.recording else self
        return self._assign(function(source, *args, **options))

    change.__doc__ = f"`{function.__name__}` in place."
    return change


def _with_sizes(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method of an op that takes its sizes or axes as a tuple, by name, or one by one."""

    def call(self: Any, *sizes: Any, **named: Any) -> Any:
        if sizes or not named:
            return function(self, _sizes(sizes), **named)
        return function(self, **named)

    call.__doc__ = f"See `minidl.{function.__name__}`."
    return call


class Methods(TensorBase):
    """A tensor that can do what ops do; the class that users see is Tensor."""

    __slots__ = ()
    __hash__ = object.__hash__  # by identity: == compares elements

    # ---- operators ------------------------------------------------------------------------------

    def __add__(self, other: Any) -> "Tensor":
        return ops.add(self, other)

    def __radd__(self, other: Any) -> "Tensor":
        return ops.add(other, self)

    def __sub__(self, other: Any) -> "Tensor":
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> "Tensor":
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> "Tensor":
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> "Tensor":
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return ops.div(other, self)

    def __floordiv__(self, other: Any) -> "Tensor":
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> "Tensor":
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> "Tensor":
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> "Tensor":
        return ops.remainder(other, self)

    def __pow__(self, other: Any) -> "Tensor":
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> "Tensor":
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return ops.matmul(other, self)

    def __neg__(self) -> "Tensor":
        return ops.neg(self)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> "Tensor":
        return ops.abs(self)

    def __invert__(self) -> "Tensor":
        return ops.logical_not(_truths("~", self))

    def __and__(self, other: Any) -> "Tensor":
        return ops.logical_and(_truths("&", self), other)

    def __or__(self, other: Any) -> "Tensor":
        return ops.logical_or(_truths("|", self), other)

    def __xor__(self, other: Any) -> "Tensor":
        return ops.logical_xor(_truths("^", self), other)

    def __eq__(self, other: Any) -> Any:
        if other is None or isinstance(other, str):
            return NotImplemented  # so that `x == None` is False, as for any object
        return ops.eq(self, other)

    def __ne__(self, other: Any) -> Any:
        if other is None or isinstance(other, str):
            return NotImplemented
        return ops.ne(self, other)

    def __lt__(self, other: Any) -> "Tensor":
        return ops.lt(self, other)

    def __le__(self, other: Any) -> "Tensor":
        return ops.le(self, other)

    def __gt__(self, other: Any) -> "Tensor":
        return ops.gt(self, other)

    def __ge__(self, other: Any) -> "Tensor":
        return ops.ge(self, other)

    # ---- in place: x.add_(y) is x = x + y in x's own memory -------------------------------------

    def _assign(self, out: Any) -> Any:
        """Take the values of `out` into this tensor's own memory: see Tensor."""
        raise NotImplementedError

    add_ = _in_place(ops.add)
    sub_ = _in_place(ops.sub)
    mul_ = _in_place(ops.mul)
    div_ = _in_place(ops.div)
    neg_ = _in_place(ops.neg)
    pow_ = _in_place(ops.pow)
    abs_ = _in_place(ops.abs)
    sqrt_ = _in_place(ops.sqrt)
    exp_ = _in_place(ops.exp)
    log_ = _in_place(ops.log)
    clamp_ = _in_place(ops.clamp)
    clamp_min_ = _in_place(ops.clamp_min)
    clamp_max_ = _in_place(ops.clamp_max)
    relu_ = _in_place(ops.relu)
    sigmoid_ = _in_place(ops.sigmoid)
    tanh_ = _in_place(ops.tanh)
    masked_fill_ = _in_place(ops.masked_fill)
    floor_ = _in_place(ops.floor)
    ceil_ = _in_place(ops.ceil)
    round_ = _in_place(ops.round)
    reciprocal_ = _in_place(ops.reciprocal)
    square_ = _in_place(ops.square)
    sin_ = _in_place(ops.sin)
    cos_ = _in_place(ops.cos)
    lerp_ = _in_place(ops.lerp)
    scatter_ = _in_place(ops.scatter)
    scatter_add_ = _in_place(ops.scatter_add)
    index_add_ = _in_place(ops.index_add)

    def __iadd__(self, other: Any) -> "Tensor":
        return self._assign(ops.add(self, other))

    def __isub__(self, other: Any) -> "Tensor":
        return self._assign(ops.sub(self, other))

    def __imul__(self, other: Any) -> "Tensor":
        return self.mul_(other)

    def __itruediv__(self, other: Any) -> "Tensor":
        return self.div_(other)

    # ---- shapes given one by one: x.reshape(2, 3) is x.reshape((2, 3)) ---------------------------

    reshape = _with_sizes(ops.reshape)
    view = _with_sizes(ops.view)
    expand = _with_sizes(ops.expand)
    permute = _with_sizes(ops.permute)
    repeat = _with_sizes(ops.repeat)
    tile = _with_sizes(ops.tile)
    flip = _with_sizes(ops.flip)

    def view_as(self, other: "Tensor") -> "Tensor":
        """As `view`, in the shape of another tensor."""
        return ops.view(self, other.shape)

    def reshape_as(self, other: "Tensor") -> "Tensor":
        """As `reshape`, to the shape of another tensor."""
        return ops.reshape(self, other.shape)

    def expand_as(self, other: "Tensor") -> "Tensor":
        """As `expand`, to the shape of another tensor."""
        return ops.expand(self, other.shape)

    def where(self, condition: "Tensor", other: Any) -> "Tensor":
        """Self where the condition holds, else the other."""
        return ops.where(condition, self, other)

    # ---- the ops as methods ----------------------------------------------------------------------

    add = ops.add
    sub = ops.sub
    mul = ops.mul
    div = ops.div
    floor_divide = ops.floor_divide
    remainder = ops.remainder
    pow = ops.pow
    neg = ops.neg
    reciprocal = ops.reciprocal
    abs = ops.abs
    sign = ops.sign
    sqrt = ops.sqrt
    rsqrt = ops.rsqrt
    square = ops.square
    exp = ops.exp
    exp2 = ops.exp2
    expm1 = ops.expm1
    log = ops.log
    log2 = ops.log2
    log10 = ops.log10
    log1p = ops.log1p
    logaddexp = ops.logaddexp
    erf = ops.erf
    lerp = ops.lerp
    addmm = ops.addmm
    sin = ops.sin
    cos = ops.cos
    tan = ops.tan
    asin = ops.asin
    acos = ops.acos
    atan = ops.atan
    atan2 = ops.atan2
    sinh = ops.sinh
    cosh = ops.cosh
    tanh = ops.tanh
    asinh = ops.asinh
    acosh = ops.acosh
    atanh = ops.atanh
    ceil = ops.ceil
    floor = ops.floor
    round = ops.round
    trunc = ops.trunc
    eq = ops.eq
    ne = ops.ne
    lt = ops.lt
    le = ops.le
    gt = ops.gt
    ge = ops.ge
    isnan = ops.isnan
    isinf = ops.isinf
    isfinite = ops.isfinite
    isclose = ops.isclose
    allclose = ops.allclose
    logical_and = ops.logical_and
    logical_or = ops.logical_or
    logical_xor = ops.logical_xor
    logical_not = ops.logical_not
    clamp = ops.clamp
    clamp_min = ops.clamp_min
    clamp_max = ops.clamp_max
    clip = ops.clamp
    maximum = ops.maximum
    minimum = ops.minimum
    masked_fill = ops.masked_fill
    masked_select = ops.masked_select
    sum = ops.sum
    mean = ops.mean
    var = ops.var
    std = ops.std
    prod = ops.prod
    max = ops.max
    min = ops.min
    amax = ops.amax
    amin = ops.amin
    median = ops.median
    logsumexp = ops.logsumexp
    norm = ops.norm
    argmax = ops.argmax
    argmin = ops.argmin
    argsort = ops.argsort
    sort = ops.sort
    topk = ops.topk
    cumsum = ops.cumsum
    cumprod = ops.cumprod
    any = ops.any
    all = ops.all
    count_nonzero = ops.count_nonzero
    nonzero = ops.nonzero
    trace = ops.trace
    flatten = ops.flatten
    unflatten = ops.unflatten
    transpose = ops.transpose
    t = ops.t
    movedim = ops.movedim
    swapaxes = ops.swapaxes
    squeeze = ops.squeeze
    unsqueeze = ops.unsqueeze
    broadcast_to = ops.broadcast_to
    split = ops.split
    chunk = ops.chunk
    unbind = ops.unbind
    narrow = ops.narrow
    select = ops.select
    roll = ops.roll
    repeat_interleave = ops.repeat_interleave
    tril = ops.tril
    triu = ops.triu
    diag = ops.diag
    diagonal = ops.diagonal
    clone = ops.clone
    contiguous = ops.contiguous
    matmul = ops.matmul
    bmm = ops.bmm
    mm = ops.mm
    mv = ops.mv
    dot = ops.dot
    outer = ops.outer
    index_select = ops.index_select
    index_add = ops.index_add
    gather = ops.gather
    scatter = ops.scatter
    scatter_add = ops.scatter_add
    take_along_dim = ops.take_along_dim
    relu = ops.relu
    sigmoid = ops.sigmoid
    softmax = ops.softmax
    log_softmax = ops.log_softmax
    prelu = ops.prelu
    hardshrink = ops.hardshrink


def _sizes(given: tuple[Any, ...]) -> Any:
    return given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


def _truths(sign: str, x: TensorBase) -> TensorBase:
    if x.data.dtype.kind != "b":
        raise DtypeError(f"{sign}: offered for truth values only, the tensor is {x.data.dtype}")
    return x
