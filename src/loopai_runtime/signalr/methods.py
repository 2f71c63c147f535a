"""What a hub lets its clients call: declared functions and nothing else.

    async def add(caller, left: int, right: int) -> int: ...              a result
    async def count(caller, to: int): yield ...                           a stream to the caller
    async def total(caller, *, numbers: Incoming) -> int: ...             a stream from the caller, one per keyword

Arguments are counted, and held against annotations of plain types, before the function sees them.
"""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime.signalr.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Method:
    """A function that clients may call, and what it takes beside its caller."""

    name: str
    function: Callable[..., Any]
    streams: bool
    hints: tuple[Any, ...]
    required: int
    uploads: tuple[str, ...]

    def check(self, arguments: list[Any]) -> None:
        """Raises ProtocolError when the arguments are no call of this method."""
        given, most = len(arguments), len(self.hints)
        if not self.required <= given <= most:
            raise ProtocolError(f"Invocation provides {given} argument(s) but target expects {most}.")
        for argument, hint in zip(arguments, self.hints, strict=False):
            if not _fits(argument, hint):
                raise ProtocolError(
                    "Error binding arguments. Make sure that the types of the provided values match the types of "
                    "the hub method being invoked."
                )


class Methods:
    """By name, whatever its case, as ASP.NET Core finds them."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}

    def add(self, name: str, function: Callable[..., Any]) -> None:
        """Raises ValueError for a function that cannot be called this way, or for a second one of a name."""
        if name.lower() in self._methods:
            raise ValueError(f"a method {name!r} is already declared")
        self._methods[name.lower()] = _described(name, function)

    def find(self, name: str) -> Method | None:
        return self._methods.get(name.lower())


def _described(name: str, function: Callable[..., Any]) -> Method:
    streams = inspect.isasyncgenfunction(function)
    if not streams and not inspect.iscoroutinefunction(function):
        raise ValueError(f"{name} is no async function")
    parameters = list(inspect.signature(function).parameters.values())
    plain = [each for each in parameters if each.kind in _POSITIONAL]
    uploads = tuple(each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY)
    if not plain or len(plain) + len(uploads) != len(parameters):
        raise ValueError(f"{name} takes its caller, arguments, and uploads as keywords: no *args, no **kwargs")
    taken = plain[1:]
    noted = {each.name: each.annotation for each in taken if each.annotation is not inspect.Parameter.empty}
    resolved = typing.get_type_hints(
        types.SimpleNamespace(__annotations__=noted), getattr(function, "__globals__", {})
    )
    hints = tuple(resolved.get(each.name, Any) for each in taken)
    for hint in hints:
        _fits(None, hint)  # an annotation that no value can be held against is told here, not to a caller
    required = sum(each.default is inspect.Parameter.empty for each in taken)
    return Method(name, function, streams, hints, required, uploads)


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    kind = dict if typing.is_typeddict(hint) else origin or hint
    if hint is Any or not isinstance(kind, type):
        return True
    if isinstance(value, bool) and kind in (int, float):
        return False
    return isinstance(value, (int, float) if kind is float else kind)
