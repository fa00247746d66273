"""What is wrong with the content of a file."""

from __future__ import annotations

import os
import warnings

#: Reasons begin with one of these verbs.
_PLURAL = {'has': 'have', 'is': 'are', 'repeats': 'repeat'}


class Problems:
    """Raises the first problem with a file, or counts them to warn once.

    Args:
        path (str or PathLike): The file.
        unit (str): What the file consists of, such as ``'line'``.
        skip (bool): Whether to count problems instead of raising the first.
        remedy (str): What to do about one. (default: ``'correct it'``)
        below (str): Where the first unit is, if that is not the start of the
            file, such as ``'below the header'``. (default: ``''``)

    Example:
        >>> problems = Problems('sales.csv', 'row', skip=True)
        >>> problems.add(9, 'repeats a user and item', "'ann' and 'cup'")
        >>> problems.add(6, "has no number in 'stars'", "'four'")
        >>> problems.add(4, 'repeats a user and item', "'bob' and 'pot'")
        >>> print(problems)
        2 repeat a user and item (the first in row 4: 'bob' and 'pot'), 1 has
        no number in 'stars' (in row 6: 'four')
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        unit: str,
        skip: bool,
        remedy: str = 'correct it',
        below: str = '',
    ) -> None:
        self.path = os.fspath(path)
        self.unit = unit
        self.skip = skip
        self.remedy = remedy
        self.below = below
        # For each reason how often it occurs, and where it does so first.
        self._count: dict[str, int] = {}
        self._first: dict[str, tuple[int, str]] = {}

    def add(
        self, number: int, reason: str, example: str, problem: str = ''
    ) -> None:
        """Note a problem.

        Args:
            number: The number of the unit.
            reason: What such units have in common, as of one: ``'is empty'``.
            example: What is wrong with this one.
            problem: The same in full, for an error. (default: ``example``)

        Raises:
            ValueError: Unless problems are skipped.
        """
        if not self.skip:
            below = f' {self.below}' if self.below else ''
            raise ValueError(
                f"'{self.path}', {self.unit} {number}{below}: "
                f'{problem or example}; {self.remedy}, or pass '
                f'skip_invalid=True to skip such {self.unit}s'
            )
        self._count[reason] = self._count.get(reason, 0) + 1
        first = self._first.get(reason, (number, example))
        self._first[reason] = min(first, (number, example))

    def warn(self, stacklevel: int = 3) -> None:
        """Warn of all problems, if there are any."""
        if self:
            num = len(self)
            units = self.unit if num == 1 else f'{self.unit}s'
            below = f'; {self.unit} 1 is the one {self.below}'
            warnings.warn(
                f"'{self.path}': {num} invalid {units} skipped: {self}"
                f'{below if self.below else ""}',
                stacklevel=stacklevel,
            )

    def __len__(self) -> int:
        return sum(self._count.values())

    def __str__(self) -> str:
        """List the reasons, the most frequent first."""
        reasons = sorted(
            self._count, key=lambda r: (-self._count[r], self._first[r])
        )
        return ', '.join(map(self._clause, reasons))

    def _clause(self, reason: str) -> str:
        count, (number, example) = self._count[reason], self._first[reason]
        verb, _, rest = reason.partition(' ')
        if count > 1:
            verb = _PLURAL[verb]
        where = 'in' if count == 1 else 'the first in'
        return (
            f'{count} {verb} {rest} ({where} {self.unit} {number}: {example})'
        )
