"""How much better one method is than another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pyg_ckd._shown import Block, Cell, Note, Shown, Table
from pyg_ckd.experiments.statistics.p_values import p_value

#: What a comparison comes to.
Outcome = Literal[
    'not tested',
    'not comparable',
    'cut short',
    'gain',
    'loss',
    'no change',
]
#: How likely a false claim may be.
LEVEL = 0.05


@dataclass(frozen=True)
class Comparison(Shown):
    """How much better one method is than another, and how sure that is.

    Args:
        gain (float): The relative gain of the mean metric, 0.1 for +10 %.
        low (float): The lower end of its 95 % interval; ``nan`` if there is
            none, as one seed without metrics of users allows no test.
        high (float): The upper end.
        p_users (float, optional): The p-value over users, see
            :func:`paired_test_users`.
        p_seeds (float, optional): The p-value over seeds, see
            :func:`paired_test_seeds`.
        num_seeds (int): The number of seeds that both methods ran with.
        num_users (int): The number of users; 0 if the runs hold no metrics of
            users, so that the interval is over seeds only.
        p (float, optional): The p-value that counts. With one seed it is that
            over users. With several it is that of the interval, over users and
            seeds: the one over users says nothing about training again, and
            the one over two or three seeds alone is hardly ever small.
            (default: :obj:`p_users`, or else
            :obj:`p_seeds`)
        p_adjusted (float, optional): The same, adjusted for the number of
            comparisons, see :func:`holm`. (default: :obj:`p`)
        family (int, optional): The number of comparisons it is adjusted for.
            (default: :obj:`1`)
        cut_short (bool, optional): Whether training of a run of either method
            ended at a limit of epochs, steps or time, before its patience was
            used up. It may then only be slower, and nothing is claimed.
            (default: :obj:`False`)
        unlike (tuple[str], optional): What differs between the two besides the
            method, such as settings or the version of the library. Nothing is
            claimed then, either. (default: :obj:`()`)
        caveats (tuple[str], optional): What else a reader has to know, such as
            that teachers were cut short. (default: :obj:`()`)
        reason (str, optional): Why it was not tested, if it was not.
            (default: :obj:`""`)

    Example:
        >>> comparison = Comparison(0.115, 0.081, 0.15, 0.001, None, 1, 900)
        >>> print(comparison, comparison.significant)
        +11.5 % [+8.1, +15.0] True
    """

    gain: float
    low: float
    high: float
    p_users: float | None
    p_seeds: float | None
    num_seeds: int
    num_users: int
    p: float | None = None
    p_adjusted: float | None = None
    family: int = 1
    cut_short: bool = False
    unlike: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    reason: str = ''

    def __post_init__(self) -> None:
        if self.p is None:
            given = [p for p in (self.p_users, self.p_seeds) if p is not None]
            object.__setattr__(self, 'p', given[0] if given else None)
        if self.p_adjusted is None:
            object.__setattr__(self, 'p_adjusted', self.p)

    @classmethod
    def untested(cls, reason: str) -> Comparison:
        """Return a comparison that could not be made, and why."""
        nan = math.nan
        return cls(nan, nan, nan, None, None, 0, 0, reason=reason)

    @property
    def tested(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves out zero, which is not enough."""
        return self.low > 0 or self.high < 0

    @property
    def significant(self) -> bool:
        """Whether more than chance is claimed.

        The interval leaves out zero, the adjusted p-value is below 0.05, no
        run was cut short, and nothing but the method differs.
        """
        return (
            self.excludes_zero
            and self.p_adjusted is not None
            and self.p_adjusted < LEVEL
            and not self.cut_short
            and not self.unlike
        )

    @property
    def outcome(self) -> Outcome:
        """What it comes to, in a word or two."""
        if not self.tested:
            return 'not tested'
        if self.unlike:
            return 'not comparable'
        if self.cut_short:
            return 'cut short'
        if not self.significant:
            return 'no change'
        return 'gain' if self.gain > 0 else 'loss'

    @property
    def scope(self) -> str:
        """Whom it holds for, if not for other users and other seeds."""
        if not self.tested:
            return ''
        if self.num_users == 0:
            return 'over seeds only'
        return 'over users only' if self.num_seeds == 1 else ''

    @property
    def doubt(self) -> str:
        """The p-value, where it forbids what the interval would allow."""
        p = self.p_adjusted
        if self.outcome != 'no change' or not self.excludes_zero or p is None:
            return ''
        return f'{"adjusted " if self.family > 1 else ""}p {p:.2g}'

    @property
    def remarks(self) -> list[str]:
        """What differs besides the method, and caveats."""
        return [*self.unlike, *self.caveats]

    @property
    def verdict(self) -> str:
        """The comparison in words, for tables.

        Example:
            >>> Comparison(0.004, -0.01, 0.019, 0.4, None, 1, 900).verdict
            'no significant gain (+0.4 % [-1.0, +1.9], over users only)'
        """
        text = ', '.join(filter(None, [str(self), self.scope, self.doubt]))
        if not self.tested:
            text += f': {self.reason}' if self.reason else ''
        elif self.unlike:
            text = f'not comparable ({text})'
        elif self.cut_short:
            text = f'cut short, let it train on ({text})'
        elif not self.significant:
            direction = 'loss' if self.gain < 0 else 'gain'
            text = f'no significant {direction} ({text})'
        elif self.gain < 0:
            text = f'significant loss ({text})'
        return '; '.join([text, *self.remarks])

    def __str__(self) -> str:
        if not self.tested:
            return 'not tested'
        return (
            f'{100 * self.gain:+.1f} % '
            f'[{100 * self.low:+.1f}, {100 * self.high:+.1f}]'
        )

    def _shown(self) -> Iterator[Block]:
        """Yield the figures, and what they come to."""
        if self.tested:
            interval = f'[{100 * self.low:+.1f}, {100 * self.high:+.1f}]'
            cells = {
                'change': Cell(f'{100 * self.gain:+.1f} %'),
                '95 % interval': Cell(interval),
                'p over users': Cell(p_value(self.p_users)),
                'p over seeds': Cell(p_value(self.p_seeds)),
                'p adjusted': Cell(p_value(self.p_adjusted)),
                'seeds': Cell(f'{self.num_seeds}'),
                'users': Cell(f'{self.num_users:,}'),
            }
            cells = {name: cell for name, cell in cells.items() if cell.text}
            yield Table(list(cells), [list(cells.values())], words=())
        yield Note(self.verdict, warns=self.cut_short or bool(self.remarks))
