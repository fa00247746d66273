"""A sequence whose entries are made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

T = TypeVar('T')
S = TypeVar('S')


class Lazy(Sequence[T], Generic[S, T]):
    """The results of a function, each computed when it is asked for.

    Args:
        function: From an argument to an entry.
        arguments: The argument of each entry.

    Example:
        >>> lengths = Lazy(len, ['a', 'bc'])
        >>> lengths[1], lengths[:1], len(lengths)
        (2, [1], 2)
    """

    def __init__(
        self, function: Callable[[S], T], arguments: Sequence[S]
    ) -> None:
        self.function = function
        self.arguments = arguments

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self.function(x) for x in self.arguments[index]]
        return self.function(self.arguments[index])

    def __len__(self) -> int:
        return len(self.arguments)
