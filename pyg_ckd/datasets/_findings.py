"""What an audit of a data set has found, in figures and in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pyg_ckd._shown import Block, Cell, Note, Shown, Table

#: A difference counts if it is so many times its standard error, ...
SURE = 4.0
#: ... neighbours if they are so many times as good as random ones, ...
TIMES = 1.5
#: ... and a rank correlation from here on.
CORRELATED = 0.1
#: From here on the number of a user is the rank of her smallest item.
IN_ORDER = 0.9
FINE = 'fine'


class Finding(NamedTuple):
    """One thing that was looked at.

    Args:
        name (str): What it is.
        text (str): What was found, in figures.
        verdict (str): ``'fine'``, or what it means and what to do.
        leaks (bool): Whether test figures are worthless to who makes use of
            it.
    """

    name: str
    text: str
    verdict: str = FINE
    leaks: bool = False

    @property
    def kind(self) -> str:
        """How bad it is in a word."""
        if self.verdict == FINE:
            return FINE
        return 'leak' if self.leaks else 'see below'


class Audit(Shown, dict[str, Any]):
    """What :func:`audit` has found, a table in notebooks and where printed.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.datasets._audit import audit
        >>> found = audit(FakeMultimodal(num_users=200)[0])
        >>> found.leaks
        []
        >>> found['in_two_splits'], found['users_without_training']
        (0, 0)
    """

    @property
    def findings(self) -> list[Finding]:
        """All that was looked at, with a verdict each."""
        return [
            *self._of_users(),
            *self._of_items(),
            *self._of_splits(),
            *self._of_times(),
        ]

    @property
    def leaks(self) -> list[str]:
        """What gives the test set away, in a sentence each."""
        return [each.verdict for each in self.findings if each.leaks]

    def remark(self) -> Note | None:
        """Return the first leak in one line, if there is any."""
        if not self.leaks:
            return None
        return Note(f'{_sentence(self.leaks[0])}; see audit(data)', warns=True)

    def table(self, title: str = '') -> Table:
        """Return the findings as a table.

        Args:
            title: What is above it.
        """
        return Table(
            ['', 'found', 'verdict'],
            [
                [
                    Cell(each.name),
                    Cell(each.text),
                    Cell(each.kind),
                ]
                for each in self.findings
            ],
            title,
            words=(0, 1, 2),
        )

    def _shown(self) -> Iterator[Block]:
        yield self.table()
        for each in self.findings:
            if each.verdict != FINE:
                yield Note(f'{_sentence(each.verdict)}.', each.leaks)
        if self['sampled_users'] < self['test_users']:
            yield Note(
                f'Neighbours were looked at for {self["sampled_users"]:,} of '
                f'{self["test_users"]:,} users with test items, drawn by a '
                f'fixed seed.'
            )

    def _of_users(self) -> Iterator[Finding]:
        neighbors, chance = self['neighbors'], self['neighbors_at_random']
        if neighbors is not None:
            leaks = (
                neighbors > TIMES * chance
                and neighbors - chance > SURE * self['neighbors_error']
            )
            yield Finding(
                'Recall@20 of what users with near numbers have',
                f'{_short(neighbors)}, with random numbers {_short(chance)}',
                f'numbers of users give the test set away (Recall@20 of '
                f'{_short(neighbors)} from neighbours alone, {_short(chance)} '
                f'with random numbers): data = renumbered(data)'
                if leaks
                else FINE,
                leaks,
            )
        every, train = self['smallest_all'], self['smallest_training']
        if every is not None and train is not None:
            shares = self['in_order_all'], self['in_order_training']
            leaks = every > IN_ORDER and train < every - 0.01
            yield Finding(
                "a user's number and her smallest item",
                f'rank correlation {every:.2f} (training {train:.2f}), '
                f'{shares[0]:.1%} in order ({shares[1]:.1%})',
                'users were numbered by their smallest item before the split, '
                'so that their order gives the test set away: data = '
                'renumbered(data)'
                if leaks
                else FINE,
                leaks,
            )
        every, train = self['mean_all'], self['mean_training']
        if every is not None and train is not None:
            yield Finding(
                "a user's number and her mean item",
                f'rank correlation {every:.2f} (training {train:.2f})',
                FINE
                if max(abs(every), abs(train)) < CORRELATED
                else 'numbers of users tell what they like: no model should '
                'read their order',
            )

    def _of_items(self) -> Iterator[Finding]:
        value = self['popularity']
        if value is not None:
            sure = abs(value) * max(self['items'] - 1, 1) ** 0.5 > SURE
            yield Finding(
                "an item's number and how often it is in test",
                f'rank correlation {value:.2f}',
                'numbers of items tell what is popular in test, and of equal '
                'scores the lower number comes first: data = renumbered(data)'
                if abs(value) >= CORRELATED and sure
                else FINE,
            )
        for modality, number in self['twins'].items():
            yield Finding(
                f'cold test items with the {modality} of a trained item',
                f'{number:,} of {self["cold_test_items"]:,}',
                f'cold items of test with the {modality} of a trained item may '
                f'be that item: merge them before the split'
                if number
                else FINE,
            )

    def _of_splits(self) -> Iterator[Finding]:
        number = self['in_two_splits']
        verdict = f'{number:,} interactions are in two splits: leave them out'
        yield Finding(
            'interactions in two splits',
            f'{number:,}',
            verdict if number else FINE,
            number > 0,
        )
        number = self['reversed_only']
        verdict = (
            f'{number:,} reversed edges are no training interactions, such as '
            f'what is held out: reverse those of training alone'
        )
        yield Finding(
            'reversed edges that are not in training',
            f'{number:,}',
            verdict if number else FINE,
            number > 0,
        )
        for name, text, meaning in (
            (
                'users_without_training',
                'users without training',
                'nothing is learned of users without training: their figures '
                'are those of chance',
            ),
            (
                'cold_test_items',
                'items of test that are not in training',
                'items of test that are not in training are found by features '
                'alone: say so beside figures, or test just that by '
                'ColdItemSplit',
            ),
            (
                'test_users_without_validation',
                'users of test without validation',
                'nothing is chosen for users of test who have no validation',
            ),
        ):
            number = self[name]
            yield Finding(text, f'{number:,}', meaning if number else FINE)

    def _of_times(self) -> Iterator[Finding]:
        for name, text, meaning in (
            (
                'later_than_own_test',
                "training later than the same user's test",
                'training knows what users did afterwards, which no shop '
                'does: LeaveOneOut or TimeSplit hold out the last',
            ),
            (
                'later_than_first_test',
                'training later than the first of test',
                'training knows what others did afterwards, which no shop '
                'does: TimeSplit holds out the last of all',
            ),
        ):
            number = self[name]
            if number is not None:
                share = number / max(self['training'], 1)
                yield Finding(
                    text,
                    f'{number:,} ({share:.1%} of training)',
                    meaning if number else FINE,
                )


def _short(value: float) -> str:
    """Return a share with three digits, and no zero in front."""
    return f'{value:.3f}'.removeprefix('0')


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
