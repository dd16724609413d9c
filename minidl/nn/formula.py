"""Formula: a layer that is one function of `nn.functional` with options, and nothing to learn."""

import inspect
from typing import Any, ClassVar

from minidl.nn import functional as F
from minidl.nn.module import Module, not_offered
from minidl.tape import TensorBase

__all__ = ["Formula"]


class Formula(Module):
    """A module that calls a function with options that were given when it was made.

    A subclass names the function and the options, in PyTorch's order, with their defaults; `...`
    stands for an option that must be given. An option that is a tensor becomes a buffer. What is
    always the same stands in `_fixed`.

        class LeakyReLU(Formula, function="leaky_relu", negative_slope=0.01): ...
    """

    _function: ClassVar[str]
    _options: ClassVar[tuple[str, ...]]
    _fixed: ClassVar[dict[str, Any]] = {}
    _ignored: ClassVar[frozenset[str]] = frozenset({"inplace"})  # a matter of memory only
    _outdated: ClassVar[tuple[str, ...]] = ("size_average", "reduce")  # of losses: see reduction
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, function: str = "", **options: Any) -> None:
        super().__init_subclass__()
        if function:
            cls._function = function
            cls._options = tuple(o for o in options if o not in cls._ignored)
            either = inspect.Parameter.POSITIONAL_OR_KEYWORD
            cls.__signature__ = inspect.Signature(
                [
                    inspect.Parameter(n, either, default=inspect.Parameter.empty if v is ... else v)
                    for n, v in options.items()
                ]
            )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()
        outdated = {name: options.pop(name, None) is not None for name in self._outdated}
        not_offered(type(self).__name__, **outdated)
        try:
            bound = self.__signature__.bind(*args, **options)
        except TypeError as error:
            expected = ", ".join(self.__signature__.parameters)
            raise TypeError(f"{type(self).__name__}: {error}; it takes ({expected})") from None
        bound.apply_defaults()
        for name in self._options:
            value = bound.arguments[name]
            if isinstance(value, TensorBase):
                self.register_buffer(name, value)  # type: ignore[arg-type]
            else:
                setattr(self, name, value)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The function of the inputs, which may be given by the function's names for them."""
        options = {name: getattr(self, name) for name in self._options}
        return getattr(F, self._function)(*inputs, **named, **options, **self._fixed)

    def extra_repr(self) -> str:
        """The options that had to be given, or that are not the usual ones."""
        given = [(name, getattr(self, name)) for name in self._options]
        return ", ".join(
            f"{name}={value!r}"
            for name, value in given
            if not isinstance(value, TensorBase)
            and value != self.__signature__.parameters[name].default
        )
