"""What differs between two runs besides what is compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyg_ckd.experiments.method import OBJECTIVES
from pyg_ckd.experiments.run import Run


def unlike(base: Run, other: Run) -> list[str]:
    """Return what differs between two runs though no method asks for it.

    That are settings, unless they are changes of one of the methods; the
    version of the library; and the data, if known. Where two objectives are
    compared, each may have all settings of its own.

    Args:
        base: A run of the base.
        other: A run of what is compared with it.

    Example:
        >>> from pyg_ckd.experiments import Method, Run
        >>> runs = [Run('shop', 'VBPR', Method(), 0, {'train': {'lr': lr}})
        ...         for lr in (0.1, 0.2)]
        >>> unlike(*runs)
        ['other settings of train']
    """
    found = []
    if base.data and other.data and base.data != other.data:
        found.append('other data')
    versions = sorted({base.version, other.version})
    if len(versions) > 1:
        found.append(f'versions {" and ".join(versions)} of the library')
    meant = [run.method.changes for run in (base, other)]
    names = ['maker', 'model', 'extra', 'train', 'fit', 'objective']
    if base.method.objective != other.method.objective:
        names = ['maker']
    elif any(set(changes) & set(OBJECTIVES) for changes in meant):
        names.remove('objective')
    settings = [  # an ensemble has none, others have what they leave out
        {'extra': {}, **run.settings} if run.settings else {}
        for run in (base, other)
    ]
    differ = [
        name
        for name in names
        if all(name in own for own in settings)
        and _without(settings[0][name], name, meant)
        != _without(settings[1][name], name, meant)
    ]
    if differ:
        found.append(f'other settings of {", ".join(differ)}')
    return found


def _without(section: Any, name: str, meant: list[Mapping[str, Any]]) -> Any:
    """Return a section of settings without what methods change in it."""
    if not isinstance(section, Mapping):
        return section
    changed = {argument for each in meant for argument in each.get(name, {})}
    return {k: v for k, v in section.items() if k not in changed}
