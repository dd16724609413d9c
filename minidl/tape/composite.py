"""Functions written with ops: in the registry, with an op's spellings and an op's errors."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from minidl.errors import DeviceError
from minidl.tape.explaining import BARE, in_the_name_of, named, speaker
from minidl.tape.kinks import Kink, as_kinks
from minidl.tape.registry import Facts, register, spelled


class Composite:
    """The registry's entry of a function that is written with ops and has no derivative itself."""

    def __init__(self, function: Callable[..., Any], facts: Facts) -> None:
        self.function, self.facts, self.name = function, facts, function.__name__
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function."""
        return self.function(*args, **options)

    def __repr__(self) -> str:
        return f"<composite {self.name}>"


def composite(
    *, formula: str = "", domain: str = "all numbers", kink: Kink | Sequence[Kink] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function written with ops into the registry; its options are spelled as an op's."""

    def make(function: Callable[..., Any]) -> Callable[..., Any]:
        text = formula or (function.__doc__ or "").strip().partition("\n")[0]
        code = function.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        own = function.__name__
        public = own in function.__globals__.get("__all__", ())

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            if options:
                options = spelled(own, options, names)
            try:
                return function(*args, **options)
            except (*BARE, DeviceError) as error:
                of = speaker(error)
                if of is None and not isinstance(error, DeviceError):
                    values = [*args, *options.values()]
                    raise named(own, error, [*names[: len(args)], *options], values) from None
                if of == own or not public:
                    raise
                raise in_the_name_of(own, error) from None

        register(Composite(call, Facts(text, (), domain, as_kinks(kink))), function)
        return call

    return make
