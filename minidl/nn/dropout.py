"""Dropout: in training, numbers are set to zero by chance and the others enlarged to make up."""

from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.tensor import Tensor

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d"]


class _Dropout(Module):
    """What they share. p : the probability of zero; inplace : without effect.

    Raises ValueError for p outside of 0 to 1.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not isinstance(p, int | float) or not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p is {p!r}, expected 0 to 1")
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        """The options."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Each number by itself; the rest times 1 / (1 - p). Srivastava et al. 2014."""

    def forward(self, x: Tensor) -> Tensor:
        """x : any shape -> the same."""
        return F.dropout(x, self.p, self.training)


class Dropout1d(_Dropout):
    """Whole channels of a sequence (N, C, L) or (C, L)."""

    def forward(self, x: Tensor) -> Tensor:
        """x : (N, C, L) or (C, L) -> the same shape."""
        return F.dropout1d(x, self.p, self.training)


class Dropout2d(_Dropout):
    """Whole channels of an image (N, C, H, W) or (C, H, W). Tompson et al. 2015."""

    def forward(self, x: Tensor) -> Tensor:
        """x : (N, C, H, W) or (C, H, W) -> the same shape."""
        return F.dropout2d(x, self.p, self.training)


class Dropout3d(_Dropout):
    """Whole channels of a volume (N, C, D, H, W) or (C, D, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """x : (N, C, D, H, W) or (C, D, H, W) -> the same shape."""
        return F.dropout3d(x, self.p, self.training)


class AlphaDropout(_Dropout):
    """Dropout to SELU's negative limit, scaled so that mean and variance stay. Klambauer 2017."""

    def forward(self, x: Tensor) -> Tensor:
        """x : any shape -> the same."""
        return F.alpha_dropout(x, self.p, self.training)
