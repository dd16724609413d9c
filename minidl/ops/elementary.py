"""Elementary functions: roots, exponentials, logarithms, angles, rounding; each by element.

Whole numbers become floats of the default dtype, except in the roundings.
"""

import math
from typing import Any

from minidl.device import array_module
from minidl.ops.arithmetic import module_of, where, zeros_like
from minidl.tape import Jump, Steep, op

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "round",
    "rsqrt",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
]

_LN2, _LN10 = math.log(2), math.log(10)


# ---- roots, exponentials, logarithms ------------------------------------------------------------


@op(
    x=lambda g, out: g / (2 * out),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="x ** 0.5",
    domain="x >= 0; NaN below",
    kink=Steep("x = 0", "infinite", at={"x": 0}, gradient={"x": math.inf}),
)
def sqrt(x: Any) -> Any:
    """The square root of x."""
    return array_module(x).sqrt(x)


@op(
    x=lambda g, out: g * (-0.5 * (out * out * out)),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="x ** -0.5",
    domain="x > 0; infinite at 0, NaN below",
    kink=Steep("x = 0", "infinite", at={"x": 0}, gradient={"x": -math.inf}),
)
def rsqrt(x: Any) -> Any:
    """1 over the square root of x."""
    return 1 / array_module(x).sqrt(x)


@op(x=lambda g, out: g * out, elementwise=True, floats=True, quiet=True, formula="e ** x")
def exp(x: Any) -> Any:
    """e to the power x."""
    return array_module(x).exp(x)


@op(x=lambda g, out: g * (out * _LN2), elementwise=True, floats=True, quiet=True, formula="2 ** x")
def exp2(x: Any) -> Any:
    """2 to the power x."""
    return array_module(x).exp2(x)


@op(x=lambda g, out: g * (out + 1), elementwise=True, floats=True, quiet=True, formula="e**x - 1")
def expm1(x: Any) -> Any:
    """e to the power x, less 1; accurate near 0."""
    return array_module(x).expm1(x)


@op(
    x=lambda g, x: g / x,
    elementwise=True,
    floats=True,
    quiet=True,
    formula="ln x",
    domain="x > 0; -infinite at 0, NaN below",
    kink=Steep("x = 0", "infinite", at={"x": 0}, gradient={"x": math.inf}),
)
def log(x: Any) -> Any:
    """The natural logarithm of x."""
    return array_module(x).log(x)


@op(
    x=lambda g, x: g / (x * _LN2),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="ln x / ln 2",
    domain="x > 0; -infinite at 0, NaN below",
    kink=Steep("x = 0", "infinite", at={"x": 0}, gradient={"x": math.inf}),
)
def log2(x: Any) -> Any:
    """The logarithm of x to base 2."""
    return array_module(x).log2(x)


@op(
    x=lambda g, x: g / (x * _LN10),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="ln x / ln 10",
    domain="x > 0; -infinite at 0, NaN below",
    kink=Steep("x = 0", "infinite", at={"x": 0}, gradient={"x": math.inf}),
)
def log10(x: Any) -> Any:
    """The logarithm of x to base 10."""
    return array_module(x).log10(x)


@op(
    x=lambda g, x: g / (x + 1),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="ln(1 + x)",
    domain="x > -1; -infinite at -1, NaN below",
    kink=Steep("x = -1", "infinite", at={"x": -1}, gradient={"x": math.inf}),
)
def log1p(x: Any) -> Any:
    """The natural logarithm of 1 + x; accurate near 0."""
    return array_module(x).log1p(x)


@op(
    x=lambda g, x, out: g * exp(x - out),
    y=lambda g, y, out: g * exp(y - out),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="ln(e**x + e**y)",
)
def logaddexp(x: Any, y: Any) -> Any:
    """The logarithm of e**x + e**y; neither power is ever formed, so nothing overflows."""
    return module_of(x, y).logaddexp(x, y)


# ---- the error function -------------------------------------------------------------------------

# W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969),
# 631-637; digits of his CALERF in SPECFUN. Highest power first. Of x * P(x*x) / Q(x*x) for
# |x| <= 0.46875, and of exp(x*x) * (1 - erf(x)) = P(x) / Q(x) above.
_NEAR_P = (
    1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
    3.20937758913846947e3,
)  # fmt: skip
_NEAR_Q = (
    1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
    2.84423683343917062e3,
)  # fmt: skip
_FAR_P = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
    2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
    1.23033935479799725e3,
)  # fmt: skip
_FAR_Q = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
    1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
    1.23033935480374942e3,
)  # fmt: skip


def _polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    total = coefficients[0] * x  # Horner's rule
    for c in coefficients[1:-1]:
        total += c
        total *= x
    total += coefficients[-1]
    return total


@op(
    x=lambda g, x: g * (2 / math.sqrt(math.pi) * exp(-x * x)),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="2 / sqrt(pi) * the integral of exp(-t*t) from 0 to x",
)
def erf(x: Any) -> Any:
    """The error function, to a few units in the last place (Cody 1969)."""
    xp = array_module(x)
    if x.dtype == "float16":
        return erf(x.astype("float32")).astype("float16")
    # At 6 it is 1 to the last bit of float64; Cody's third formula, for 1 - erf above 4, is idle.
    size = xp.minimum(xp.absolute(x), 6)
    z = size * size
    near = size * _polynomial(z, _NEAR_P) / _polynomial(z, _NEAR_Q)
    far = 1 - xp.exp(-z) * _polynomial(size, _FAR_P) / _polynomial(size, _FAR_Q)
    return xp.copysign(where(size <= 0.46875, near, far), x)


@op(
    x=lambda g, x: g * (1 / math.sqrt(2 * math.pi) * exp(-0.5 * (x * x))),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="(1 + erf(x / sqrt(2))) / 2",
)
def ndtr(x: Any) -> Any:
    """The probability that a number of the standard normal distribution is below x."""
    return 0.5 * (1 + erf(x * math.sqrt(0.5)))


# ---- angles -------------------------------------------------------------------------------------


@op(x=lambda g, x: g * cos(x), elementwise=True, floats=True, quiet=True, formula="sin x")
def sin(x: Any) -> Any:
    """The sine of x in radians."""
    return array_module(x).sin(x)


@op(x=lambda g, x: g * -sin(x), elementwise=True, floats=True, quiet=True, formula="cos x")
def cos(x: Any) -> Any:
    """The cosine of x in radians."""
    return array_module(x).cos(x)


@op(
    x=lambda g, out: g * (1 + out * out),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="sin x / cos x",
)
def tan(x: Any) -> Any:
    """The tangent of x in radians."""
    return array_module(x).tan(x)


@op(
    x=lambda g, x: g * rsqrt(1 - x * x),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="the y in [-pi/2, pi/2] with sin y = x",
    domain="-1 <= x <= 1; elsewhere NaN",
    kink=[
        Steep("x = -1", "infinite", at={"x": -1}, gradient={"x": math.inf}),
        Steep("x = 1", "infinite", at={"x": 1}, gradient={"x": math.inf}),
    ],
)
def asin(x: Any) -> Any:
    """The angle whose sine is x."""
    return array_module(x).arcsin(x)


@op(
    x=lambda g, x: g * -rsqrt(1 - x * x),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="the y in [0, pi] with cos y = x",
    domain="-1 <= x <= 1; elsewhere NaN",
    kink=[
        Steep("x = -1", "infinite", at={"x": -1}, gradient={"x": -math.inf}),
        Steep("x = 1", "infinite", at={"x": 1}, gradient={"x": -math.inf}),
    ],
)
def acos(x: Any) -> Any:
    """The angle whose cosine is x."""
    return array_module(x).arccos(x)


@op(
    x=lambda g, x: g / (1 + x * x),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="the y in (-pi/2, pi/2) with tan y = x",
)
def atan(x: Any) -> Any:
    """The angle whose tangent is x."""
    return array_module(x).arctan(x)


def _distance(x: Any, y: Any) -> Any:
    """The squared distance of a point from the origin; 1 for the origin, so that 0 / it is 0."""
    squares = x * x + y * y
    return where(squares == 0, 1, squares)


@op(
    input=lambda g, input, other: g * (other / _distance(input, other)),
    other=lambda g, input, other: g * (-input / _distance(input, other)),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="the angle from the first axis to the point (other, input), in (-pi, pi]",
    kink=[
        Jump(
            "input = other = 0",
            "0 by both",
            at={"input": 0, "other": 0},
            gradient={"input": 0, "other": 0},
        ),
        Jump(
            "input = 0, other < 0",
            "as beside it",
            at={"input": 0, "other": -2},
            gradient={"input": -0.5, "other": 0},
        ),
    ],
)
def atan2(input: Any, other: Any) -> Any:
    """The angle whose tangent is input / other, in the quadrant of the point (other, input)."""
    return module_of(input, other).arctan2(input, other)


# ---- hyperbolic functions -----------------------------------------------------------------------


@op(x=lambda g, x: g * cosh(x), elementwise=True, floats=True, quiet=True, formula="sinh x")
def sinh(x: Any) -> Any:
    """The hyperbolic sine, (e**x - e**-x) / 2."""
    return array_module(x).sinh(x)


@op(x=lambda g, x: g * sinh(x), elementwise=True, floats=True, quiet=True, formula="cosh x")
def cosh(x: Any) -> Any:
    """The hyperbolic cosine, (e**x + e**-x) / 2."""
    return array_module(x).cosh(x)


@op(
    x=lambda g, out: g * (1 - out * out),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="(e**x - e**-x) / (e**x + e**-x)",
)
def tanh(x: Any) -> Any:
    """The hyperbolic tangent of x, in [-1, 1]."""
    return array_module(x).tanh(x)


@op(
    x=lambda g, x: g * rsqrt(x * x + 1),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="the y with sinh y = x",
)
def asinh(x: Any) -> Any:
    """The inverse of sinh."""
    return array_module(x).arcsinh(x)


@op(
    x=lambda g, x: g * rsqrt(x * x - 1),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="the y >= 0 with cosh y = x",
    domain="x >= 1; NaN below",
    kink=Steep("x = 1", "infinite", at={"x": 1}, gradient={"x": math.inf}),
)
def acosh(x: Any) -> Any:
    """The inverse of cosh."""
    return array_module(x).arccosh(x)


@op(
    x=lambda g, x: g / (1 - x * x),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="the y with tanh y = x",
    domain="-1 < x < 1; infinite at the ends, NaN beyond",
    kink=[
        Steep("x = -1", "infinite", at={"x": -1}, gradient={"x": math.inf}),
        Steep("x = 1", "infinite", at={"x": 1}, gradient={"x": math.inf}),
    ],
)
def atanh(x: Any) -> Any:
    """The inverse of tanh."""
    return array_module(x).arctanh(x)


# ---- rounding: constant almost everywhere, so the gradient is 0 ---------------------------------

_JUMP = Jump("x is whole", "0, as everywhere", at={"x": 1}, gradient={"x": 0})


def _rounded(function: str, x: Any) -> Any:
    return getattr(array_module(x), function)(x) if x.dtype.kind == "f" else x.copy()


@op(x=lambda g: zeros_like(g), elementwise=True, formula="the whole number above", kink=_JUMP)
def ceil(x: Any) -> Any:
    """The smallest whole number that is not below x, in the dtype of x."""
    return _rounded("ceil", x)


@op(x=lambda g: zeros_like(g), elementwise=True, formula="the whole number below", kink=_JUMP)
def floor(x: Any) -> Any:
    """The largest whole number that is not above x, in the dtype of x."""
    return _rounded("floor", x)


@op(x=lambda g: zeros_like(g), elementwise=True, formula="x without its fraction", kink=_JUMP)
def trunc(x: Any) -> Any:
    """x without what stands behind the point, in the dtype of x."""
    return _rounded("trunc", x)


@op(
    x=lambda g: zeros_like(g),
    elementwise=True,
    quiet=True,
    formula="the nearest multiple of 10 ** -decimals, of two the even one",
    kink=Jump("half-way between two", "0, as everywhere", at={"x": 0.5}, gradient={"x": 0}),
)
def round(x: Any, *, decimals: int = 0) -> Any:
    """x rounded to so many decimals (negative: to tens, hundreds, …), in the dtype of x.

    Of two equally near numbers the even one is taken.
    """
    if x.dtype.kind != "f" and decimals >= 0:
        return x.copy()
    return array_module(x).round(x, decimals)
