"""The best settings of searches, and the file that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.experiments.method import Method
from pyg_ckd.experiments.settings import PARTS
from pyg_ckd.experiments.tuning.trials import Trials, packages, slots_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

#: How the file begins.
HEAD = (
    '# Settings found by search. The file is written anew by each search in\n'
    '# this folder; copy what is to be kept.\n'
)


@dataclass(frozen=True)
class Found:
    """The best that was found for a method, by validation.

    Args:
        method (Method): The method.
        value (float): Its best validation, that of the base if it is off.
        key (str): The :attr:`~pyg_ckd.experiments.Run.key` of its run.
        changes (dict): The settings that differ from those to start from.
        trials (int): How many trials it is the best of.
        started (float, optional): The best validation with all settings as
            they were before the search, those of the base as well;
            :obj:`None` if they could not be trained.
        halfway (float, optional): Of a base, the best validation after half
            of the trials.
        own (float, optional): The best validation of its own trials, if any
            succeeded.
        is_off (bool): Whether a balance is no better than its base.
        reasons (list[str]): Why trials failed.
    """

    method: Method
    value: float
    key: str
    changes: Mapping[str, Any]
    trials: int
    started: float | None = None
    halfway: float | None = None
    own: float | None = None
    is_off: bool = False
    reasons: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        def shown(value: float | None) -> str:
            return 'failed' if value is None else f'{value:.4f}'

        if self.is_off:
            text = (
                f'switched off, no better than the base in {self.trials} '
                f'trials ({shown(self.own)})'
            )
        else:
            text = f'{shown(self.value)}, the best of {self.trials} trials'
        if self.halfway is not None:
            text += f' ({shown(self.halfway)} after half of them)'
        before = shown(self.started)
        return f'{self.method}: {text}; {before} with the settings before'


def best_of(study: Study) -> Found | None:
    """Return the best of a study; of a balance the base, if none is better.

    Args:
        study: The study.

    Returns:
        The first of equal trials; :obj:`None` if no trial of a base succeeded.
    """
    about = study.user_attrs
    slots = [t for t in slots_of(study) if t.state.is_finished()]
    done = [t for t in slots if t.state.name == 'COMPLETE']
    best = max(done, key=_value, default=None)
    own = _value(best) if best else None
    base: dict[str, Any] = about.get('base', {})
    is_off = bool(base) and (own is None or own <= base['value'])
    if is_off:
        value, key, changes = base['value'], base['key'], about['off']
    elif best is None:
        return None
    else:
        value = _value(best)
        key, changes = best.user_attrs['key'], best.user_attrs['changes']
    half = [t for t in slots[: len(slots) // 2] if t in done]
    started: float | None = about.get('started')
    for trial in done:
        if not base and trial.user_attrs.get('start'):
            started = _value(trial)
    return Found(
        Method(**about['method']),
        value,
        key,
        changes,
        trials=len(slots),
        started=started,
        halfway=None if base else max(map(_value, half), default=None),
        own=own,
        is_off=is_off,
        reasons=[
            t.user_attrs['reason'] for t in slots if t.state.name == 'FAIL'
        ],
    )


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by section.

    Example:
        >>> nested({'train.lr': 1, 'CKD.on_random.tau': 2})
        {'train': {'lr': 1}, 'CKD': {'on_random': {'tau': 2}}}
    """
    result: dict[str, Any] = {}
    for name, value in changes.items():
        *parts, last = name.split('.')
        table = result
        for part in parts:
            table = table.setdefault(part, {})
        table[last] = value
    return result


def text_of(
    dataset: str, backbone: str, table: Mapping[str, Any], notes: Iterable[str]
) -> str:
    """Return the settings of one backbone as TOML, with a comment on top."""
    _, tomli_w = packages()
    lines = ''.join(f'# {note}'.rstrip() + '\n' for note in notes)
    tables = {dataset: {backbone: _without_none(table)}}
    return f'{lines}\n{tomli_w.dumps(tables)}'


def write_best(trials: Trials) -> Path:
    """Write the best settings of all backbones that were tuned in a folder.

    Args:
        trials: The trials of the folder.
    """
    newest: dict[tuple[str, str], dict[str, str]] = {}
    path = trials.folder / 'best.toml'
    with trials.lock:
        for study in trials.studies():
            about = study.user_attrs
            best = about.get('best', {'date': ''})
            place = about['dataset'], about['backbone']
            if best['date'] > newest.get(place, {'date': ''})['date']:
                newest[place] = best
        texts = [HEAD, *(newest[place]['text'] for place in sorted(newest))]
        with open_atomic(path) as file:
            file.write('\n'.join(texts).encode())
    return path


def _value(trial: FrozenTrial) -> float:
    """Return the value of a trial that is complete."""
    assert trial.value is not None
    return trial.value


def _without_none(value: Any) -> Any:
    """Return settings without what TOML has no word for.

    A part of CKD that is left out is false there.
    """
    if not isinstance(value, Mapping):
        return value
    return {
        name: False if each is None else _without_none(each)
        for name, each in value.items()
        if each is not None or name in PARTS
    }
