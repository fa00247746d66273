"""What shows itself as tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from pyg_ckd._shown.block import Block


class Shown(ABC):
    """Is a table in notebooks and where it is printed; to be inherited.

    What ``repr`` returns is that of the other base, if there is one.
    """

    @abstractmethod
    def _shown(self) -> Iterator[Block]:
        """Yield what is shown, one below the other."""

    def __str__(self) -> str:
        from pyg_ckd._shown.text import to_text

        return to_text(self._shown())

    def _repr_html_(self) -> str:
        from pyg_ckd._shown.html import to_html

        return to_html(self._shown())
