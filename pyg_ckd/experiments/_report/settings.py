"""Settings and protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pyg_ckd._shown.page.section import (
    Block,
    Details,
    Entries,
    Point,
    Points,
    Section,
)
from pyg_ckd.experiments._report.head import made_with
from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments._report.words import listed, plural

INTERVALS = (
    'Intervals come from 10,000 bootstrap resamples of users and, where there '
    'are several, of seeds, widened for few seeds by Student’s distribution. '
    'With one seed they say what other users would give with these trained '
    'models, and nothing about training them again.'
)
TESTS = (
    'p over users is that of Wilcoxon’s signed-rank test, p over seeds that of '
    'the paired t-test, p over users and seeds that of the interval.'
)


def adjusted(number: int, number_best: int = 0) -> str:
    """Return what is said of the number of comparisons.

    Args:
        number: That of comparisons with the base of the same objective.
        number_best: That of comparisons with the best of several bases.
    """
    apart = (
        f', and apart from them for all {number_best} with the best base'
        if number_best
        else ''
    )
    return (
        f'Of twenty comparisons that change nothing, one has p below 0.05. '
        f'Therefore p is adjusted by Holm’s method for all '
        f'{plural(number, "comparison")} of this page{apart}, those that were '
        f'cut short included. With one seed it is p over users that is '
        f'adjusted; with several, p over users and seeds, as p over users does '
        f'not know that another seed gives another model, and p over two or '
        f'three seeds alone is hardly ever small. A change is called '
        f'significant if the adjusted p is below 0.05 and the interval, which '
        f'is not adjusted, leaves out zero.'
    )


def settings_section(material: Material, about: Sequence[str]) -> Section:
    """Return how the results came about.

    Args:
        material: The results.
        about: Sentences to begin with.
    """
    families = (
        max((c.family for c in against.values()), default=0)
        for against in (material.against, material.against_best)
    )
    family, family_best = families
    lines = [*about, *made_with(material.results), INTERVALS, TESTS]
    if max(family, family_best) > 1:
        lines.append(adjusted(family, family_best))
    blocks: list[Block] = [Points([Point('', line) for line in lines])]
    for backbone in material.backbones:
        settings = {
            method: dict(flat(runs[0].run.settings))
            for method, runs in material.methods(backbone).items()
            if runs[0].run.settings
        }
        if settings:
            blocks.append(_details(backbone, settings))
    return Section(
        'settings',
        'Settings and protocol',
        'How the results and their intervals came about. Of each recommender, '
        'what differs between methods comes first.',
        blocks,
    )


def _details(
    backbone: str, settings: Mapping[str, Mapping[str, str]]
) -> Details:
    """Return the settings of a backbone: what differs, and what does not."""
    names = list(dict.fromkeys(n for own in settings.values() for n in own))
    common = {
        name
        for name in names
        if len({own.get(name) for own in settings.values()}) == 1
    }
    alike: dict[tuple[str, ...], list[str]] = {}
    for method, own in settings.items():
        lines = [
            f'{n} = {own[n]}' for n in names if n in own and n not in common
        ]
        alike.setdefault(tuple(lines), []).append(method)
    entries = [
        (listed(methods), lines or ('nothing of its own',))
        for lines, methods in alike.items()
        if len(alike) > 1
    ]
    own = next(iter(settings.values()))
    if common:
        title = 'all methods' if len(settings) > 1 else next(iter(settings))
        entries.append(
            (title, tuple(f'{n} = {own[n]}' for n in names if n in common))
        )
    return Details(f'Settings of {backbone}', [Entries(entries)])


def flat(values: Mapping[str, Any], above: str = '') -> list[tuple[str, str]]:
    """Return settings by their full names.

    Example:
        >>> flat({'train': {'lr': 0.1}, 'balance': None})
        [('train.lr', '0.1'), ('balance', 'none')]
    """
    found = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found += flat(value, f'{above}{name}.')
        else:
            text = 'none' if value is None else json.dumps(value)
            found.append((f'{above}{name}', text.strip('"')))
    return found
