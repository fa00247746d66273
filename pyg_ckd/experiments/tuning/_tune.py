"""Search for settings, by validation alone."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_ckd._shown import Block, Cell, Shown, Table
from pyg_ckd.experiments.backbones import BASELINES
from pyg_ckd.experiments.callbacks import Tell
from pyg_ckd.experiments.experiment import Experiment
from pyg_ckd.experiments.method import BALANCES, OBJECTIVES, OFF, Method, is_off
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.settings import Settings
from pyg_ckd.experiments.store import Store
from pyg_ckd.experiments.tuning.best import (
    Found,
    best_of,
    nested,
    text_of,
    write_best,
)
from pyg_ckd.experiments.tuning.spaces import Space, Spaces
from pyg_ckd.experiments.tuning.trials import (
    Report,
    Taken,
    Trials,
    packages,
    quiet,
    shown_url,
    slots_of,
)
from pyg_ckd.experiments.tuning.watcher import TuneWatcher
from pyg_ckd.kernels.arguments import as_seed, check_whole

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner


@dataclass(frozen=True)
class Tuned(Shown):
    """What a search found.

    ``str(tuned)`` is a table of it, and so is what a notebook shows.

    Args:
        settings (Settings): The best settings, of all backbones that were
            tuned in the folder.
        found (list[Found]): The best of each method, the base first.
        path (Path): The file that holds the settings.
    """

    settings: Settings
    found: list[Found]
    path: Path

    def _shown(self) -> Iterator[Block]:
        head = ['method', 'at first', 'halfway', 'best', 'trials']
        rows = []
        for each in self.found:
            started = each.started is not None
            changes = [f'{name} {x}' for name, x in each.changes.items()]
            remarks = ['no better than the base, switched off'] * each.is_off
            if each.reasons:
                remarks.append(f'{len(each.reasons)} failed')
            texts = [
                str(each.method),
                f'{each.started:.4f}' if started else 'failed',
                '' if each.halfway is None else f'{each.halfway:.4f}',
                f'{each.value:.4f}',
                str(each.trials),
                ', '.join(changes),
                ', '.join(remarks),
            ]
            rows.append([Cell(text) for text in texts])
        yield Table(
            [*head, 'settings', 'remarks'],
            rows,
            'Best validation of each method',
            words=(0, 5, 6),
        )


def tune(
    experiment: Experiment,
    backbone: str,
    methods: Iterable[Method],
    trials: int = 20,
    *,
    spaces: Spaces | None = None,
    seed: int = 0,
    storage: str | None = None,
    pruner: BasePruner | None = None,
    watcher: TuneWatcher | None = None,
) -> Tuned:
    """Search for the settings of a backbone and its methods.

    A trial is a run with the settings that it tries, and its value the best
    validation of its history. Test interactions are not looked at. First the
    base is tuned, whose settings teachers and students share; then, on the
    best of these, the settings of each balance alone.

    **Budget.** Each balance gets ``trials`` trials, and the base twice as many
    if there are balances. Settings of one table are shared by all methods, so
    that a balance always profits from the trials of the base. That the base
    has had more of them than any balance, and what the second half of them was
    worth, see ``halfway`` of what is found, is what the gain of a balance is to
    be held against. The settings to start from are the first trial of each
    method. The base is a trial of each balance, too, namely that in which it
    is switched off; it is not trained again and takes nothing from the budget.
    So on validation the base is never below the settings to start from, nor a
    balance below the base. What a balance gave before the base was tuned is
    trained once, as ``started``: settings that are best for the base need not
    be so for a student, nor for its teachers. Trials that fail count, with
    their reason.

    **Pruning.** A trial is given up when three evaluations in a row brought
    nothing better, and its best is below the median of others after as many
    epochs. One that still rises goes on, for slow training often ends higher.
    Hyperband compares trials by a share of the largest number of epochs; here
    training ends when validation stops rising, and there is no such number.

    **Interruptions.** The search goes on where it was when it is called again,
    killed at whatever moment; the trial at work goes on from its checkpoint.
    With a larger number of trials it is prolonged. Several processes may call
    it at once and share the work; the number of trials is met exactly.
    Several machines need a folder with locks, see
    :class:`~pyg_ckd.experiments.Store`, and, as SQLite is not safe on network
    file systems, the URL of a database server as ``storage``.

    In the folder ``tune`` of the experiment's results there are ``best.toml``,
    the best settings of all backbones tuned there, to be passed as settings of
    experiments; ``trials.csv``; what a :class:`~pyg_ckd.experiments.Store`
    holds; and ``optuna.db``.

    Args:
        experiment (Experiment): The data set, the settings to start from, and
            where results are kept.
        backbone (str): The name of the backbone.
        methods (list[Method]): The methods to tune, bases and students of one
            objective. The base is tuned in any case.
        trials (int, optional): The number of trials of each balance, and half
            of those of the base. (default: :obj:`20`)
        spaces (Spaces, optional): What is searched.
            (default: those of the library)
        seed (int, optional): The random seed of each run and of the search.
            (default: :obj:`0`)
        storage (str, optional): A database for Optuna, such as
            ``"postgresql://..."``. (default: ``optuna.db`` in the folder)
        pruner (optuna.pruners.BasePruner, optional): When to give up a trial.
            (default: as said above)
        watcher (TuneWatcher, optional): What is told of it.
            (default: :obj:`None`)

    Raises:
        ImportError: If Optuna or tomli_w is missing.
        ValueError: If an argument is none of these, a setting of a space is
            unknown, or no trial of the base succeeded.

    Example:
        >>> import tempfile
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> def shop(pre_transform):
        ...     return FakeMultimodal(num_users=20, num_items=30,
        ...                           pre_transform=pre_transform)[0]
        >>> spaces = Spaces({'shop': {'base': {'BPR.l2': {'choices': [0.1]}}}})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     experiment = Experiment(
        ...         'shop', shop, Settings({}), Store(folder), max_epochs=5)
        ...     tuned = tune(experiment, 'VBPR', [], trials=2, spaces=spaces)
        ...     (base,) = tuned.found
        ...     base.trials, base.value >= base.started, tuned.path.name
        (2, True, 'best.toml')
    """
    packages()
    check_whole('tune', trials=trials)
    seed = as_seed('tune', seed, bits=32)
    objective, balances = _checked(methods)
    if backbone in BASELINES:
        balances = []
    with quiet():
        search = _Search(
            experiment,
            backbone,
            objective,
            spaces or Spaces.read(),
            seed,
            storage,
            pruner,
            watcher or TuneWatcher(),
        )
        for each in balances:  # before the base takes its time
            search.space_of(each)
        budget = 2 * trials if balances else trials
        base = search.open(Method(objective=objective), budget)
        search.work([base])
        found = best_of(base.study)
        if found is None:
            reasons = [t.user_attrs['reason'] for t in slots_of(base.study)]
            raise ValueError(
                f"no trial of '{backbone}' succeeded; they failed or were "
                f'pruned: {"; ".join(dict.fromkeys(reasons))}'
            )
        started = [search.started(each, found) for each in balances]
        search.settings = search.changed(found.changes)
        lines = [
            search.open(each, trials, found, value)
            for each, value in zip(balances, started, strict=True)
        ]
        search.work(lines)
        return search.finish(base, found, lines)


@dataclass(frozen=True)
class _Line:
    """The search for the settings of one method.

    Args:
        method (Method): The method.
        space (dict): What is searched.
        start (dict): The values to start from.
        study (optuna.Study): Its trials.
        budget (int): How many there shall be.
        monitor (str): What they are compared by.
        base (Found, optional): The base of a balance.
    """

    method: Method
    space: Space
    start: Mapping[str, Any]
    study: Study
    budget: int
    monitor: str
    base: Found | None


class _Search:
    """The search for the settings of one backbone."""

    def __init__(
        self,
        experiment: Experiment,
        backbone: str,
        objective: str,
        spaces: Spaces,
        seed: int,
        storage: str | None,
        pruner: BasePruner | None,
        watcher: TuneWatcher,
    ) -> None:
        self.experiment = copy.copy(experiment)
        self.experiment.store = Store(experiment.store.folder / 'tune')
        self.experiment.test = False
        _ = self.experiment.fingerprint  # once, for all that are copied
        #: Settings of now: to start from, then with those of the best base.
        self.settings = experiment.settings
        self.dataset = experiment.dataset
        self.backbone = backbone
        self.objective = objective
        self.spaces = spaces
        self.seed = seed
        self.watcher = watcher
        self.store = self.experiment.store
        self.trials = Trials(self.store, storage, seed, pruner)
        #: What stops a search, for it is not the fault of settings.
        self.outside = (
            OSError,
            self.trials.optuna.exceptions.StorageInternalError,
        )

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """Return settings with some changed, for the objective if one is named.

        Those of other objectives stay.
        """
        table, name = nested(changes), self.objective
        if name:
            own = table.pop(name, {})
            table = {name: {**own, 'with': table}} if table else {name: own}
        return self.settings.changed(self.dataset, self.backbone, table)

    def at(self, settings: Settings) -> Experiment:
        """Return the experiment with other settings."""
        experiment = copy.copy(self.experiment)
        experiment.settings = settings
        return experiment

    def planned(self, method: Method, settings: Settings) -> Run:
        """Return the run of a method."""
        return self.at(settings).planned(self.backbone, method, self.seed)

    def started(self, method: Method, base: Found) -> float | None:
        """Return the best validation of a student with the settings of now.

        Args:
            method: The student.
            base: Its base.
        """
        experiment = self.at(self.settings)
        run = self.planned(method, self.settings)
        if is_off(run.settings['balance']):
            return base.started
        planned = experiment.plan([self.backbone], [method], [self.seed])
        experiment.run(planned, self.watcher)
        self.store.embeddings(run.key).unlink(missing_ok=True)
        result = self.store.get(run.key)
        if result is None or result.error:
            return None
        return _value(result, run.settings['fit']['monitor'])

    def open(
        self,
        method: Method,
        budget: int,
        base: Found | None = None,
        started: float | None = None,
    ) -> _Line:
        """Return the search of a method, from the settings of now.

        Args:
            method: The method.
            budget: How many trials there shall be.
            base: The base of a balance.
            started: What the balance gave before the base was tuned.
        """
        start = self.planned(method, self.settings)
        space = self.space_of(method)
        values = {name: _in_effect(start, name) for name in space}
        text = f'{start.key} {sorted(space.items())}'
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        kind = method.balance or method.kind
        about: dict[str, Any] = {
            'dataset': self.dataset,
            'backbone': self.backbone,
            'method': method.to_dict(),
            'shown': str(method),
            'study': digest,
        }
        if base:
            off = OFF[method.balance]
            about['base'] = {'value': base.value, 'key': base.key}
            about['started'] = started
            about['off'] = {f'{kind}.{name}': x for name, x in off.items()}
        study = self.trials.study(
            f'{self.dataset} {self.backbone} {kind} {digest}',
            about,
        )
        return _Line(
            method,
            space,
            values,
            study,
            budget if space else 1,
            start.settings['fit']['monitor'],
            base,
        )

    def space_of(self, method: Method) -> Space:
        """Return what is searched: what is there and has an effect.

        Args:
            method: The method.

        Raises:
            ValueError: If there is no such setting; it says where.
        """
        start = self.planned(method, self.settings)
        kind = method.balance or method.kind
        place = self.dataset, self.backbone, kind
        where = self.spaces.where(*place)
        space: Space = {}
        for name, entry in self.spaces.of(*place).items():
            section, *parts = name.split('.')
            settings = _section(start, section)
            if section in OBJECTIVES and settings.get('name') != section:
                continue
            if parts[1:] and settings.get(parts[0], {}) is None:
                continue
            try:
                self.planned(method, self.changed({name: entry.example}))
            except ValueError as error:
                raise ValueError(f"{where}, '{name}': {error}") from error
            space[name] = entry
        return space

    # Work ###################################################################

    def work(self, lines: Sequence[_Line]) -> None:
        """Work at trials until all are finished, by whichever process."""
        while True:
            for line in lines:
                taken = self.trials.take(
                    line.study, line.budget, line.space, line.start
                )
                if taken:
                    with taken.claim:
                        self._try(line, taken)
                    break
            else:
                left = [
                    self.planned(
                        line.method,
                        self.changed(trial.user_attrs.get('changes', {})),
                    )
                    for line in lines
                    for trial in self.trials.left(line.study)
                ]
                if not left:
                    return
                self.watcher.waiting(left)
                time.sleep(1)

    def _try(self, line: _Line, taken: Taken) -> None:
        """Train a trial, and keep what came of it."""
        trial, study = taken.trial, line.study
        run = self.planned(line.method, self.changed(taken.changes))
        trial.set_user_attr('key', run.key)
        params = {name: _in_effect(run, name) for name in line.space}
        trial.set_user_attr('params', params)
        self.watcher.begin_trial(run, taken.place, line.budget)
        report, began = Report(trial, line.monitor), time.perf_counter()
        about: dict[str, Any] = {}
        value = None
        try:
            if line.base and is_off(run.settings['balance']):
                state, value = 'complete', line.base.value
                about = {'key': line.base.key, 'reason': 'that of the base'}
            else:
                result = self._trained(run, taken.changes, report)
                state, value = 'complete', _value(result, line.monitor)
                about = {'epochs': result.epochs, 'seconds': result.seconds}
        except self.outside:
            raise
        except Exception as error:
            pruned = isinstance(error, self.trials.optuna.TrialPruned)
            state = 'pruned' if pruned else 'failed'
            kind = '' if pruned else f'{type(error).__name__}: '
            about = {
                'reason': f'{kind}{error}',
                'epochs': report.epoch,
                'seconds': round(time.perf_counter() - began, 1),
            }
        tried = self.trials.close(study, taken, state, value, **about)
        best = best_of(study)
        self._forget(line, best)
        self.watcher.end_trial(tried, best.value if best else None)

    def _trained(
        self, run: Run, changes: Mapping[str, Any], report: Report
    ) -> Result:
        """Return the result of a run, which others may have trained."""
        experiment = self.at(self.changed(changes))
        teachers = experiment.needs(run)
        for teacher in experiment.run(teachers, self.watcher):
            if teacher.error:
                raise RuntimeError(
                    f"the teacher '{teacher.run}' failed: {teacher.error}"
                )
        while True:
            with self.store.claim(run.key) as claimed:
                if claimed:
                    result = self.store.get(run.key)
                    if result is None or result.error:
                        result = self._kept(experiment, run, report)
                    self.store.clear(run.key)
                    return result
            self.watcher.waiting([run])
            time.sleep(1)

    def _kept(self, experiment: Experiment, run: Run, report: Report) -> Result:
        """Train a run and keep its result, or nothing of it."""
        pruned = self.trials.optuna.TrialPruned
        path = self.store.checkpoint(run.key)
        was_there = path.exists()
        callbacks = [Tell(run, self.watcher), report]
        try:
            try:
                result = experiment.train(run, callbacks)
            except (*self.outside, pruned):
                raise
            except Exception as error:
                if not was_there:
                    raise
                self.watcher.problem(
                    f"'{run}' begins anew, as it could not go on from "
                    f"'{path}' ({error})"
                )
                path.unlink(missing_ok=True)
                result = experiment.train(run, callbacks)
        except self.outside:
            raise
        except Exception:
            self.store.clear(run.key)
            raise
        self.store.save(result)
        return result

    def _forget(self, line: _Line, best: Found | None) -> None:
        """Remove embeddings but those of the best base, which may teach."""
        kept = {best.key} if best else set()
        if line.base:
            kept = {line.base.key}
        for trial in slots_of(line.study):
            key = trial.user_attrs.get('key')
            if key and trial.state.is_finished() and key not in kept:
                self.store.embeddings(key).unlink(missing_ok=True)

    # Finish #################################################################

    def finish(
        self, base: _Line, found: Found, lines: Sequence[_Line]
    ) -> Tuned:
        """Write the best settings, and return them.

        Args:
            base: The search of the base.
            found: Its best, whose settings are those of now.
            lines: The balances.
        """
        balances: dict[str, Found] = {}
        for study in self._studies_on(found):
            best = best_of(study)
            if best:
                balances[best.method.balance] = best
        for line in lines:
            best = best_of(line.study)
            assert best is not None
            balances[line.method.balance] = best
        changes = {
            k: v for x in balances.values() for k, v in x.changes.items()
        }
        table = self.changed(changes).of(self.dataset, self.backbone)
        now = datetime.now(timezone.utc)
        run = self.planned(base.method, self.settings)
        notes = [
            f'{self.dataset}, {self.backbone}: best {base.monitor}, '
            f'{now:%Y-%m-%d}, pyg_ckd {run.version}',
            f'data {run.data}, seed {self.seed}, trials in '
            f'{shown_url(self.trials.url)}',
            *(f'  {each}' for each in (found, *balances.values())),
        ]
        text = text_of(self.dataset, self.backbone, table, notes)
        with self.trials.lock:
            base.study.set_user_attr(
                'best', {'date': now.isoformat(), 'text': text}
            )
            path = write_best(self.trials)
            self.trials.write()
            settings = Settings.read(path)
        for each in (found, *balances.values()):
            key = self.planned(each.method, settings).key
            if key != each.key and not each.is_off:
                raise RuntimeError(
                    f"'{path}' does not hold the settings of '{each.method}'; "
                    f'those to start from may have values that TOML has not'
                )
        mine = [balances[line.method.balance] for line in lines]
        for each in mine:
            if each.started is not None and each.started > each.value:
                self.watcher.problem(
                    f"'{each.method}' was better with the settings before: "
                    f'{each.started:.4f}, now {each.value:.4f}. Those of the '
                    f'base do not suit it; search less widely for the base'
                )
        return Tuned(settings, [found, *mine], path)

    def _studies_on(self, base: Found) -> list[Study]:
        """Return the studies of balances on a base, those of others too."""
        return [
            study
            for study in self.trials.studies()
            if study.user_attrs.get('base', {}).get('key') == base.key
            and any(t.state.is_finished() for t in slots_of(study))
        ]


def _checked(methods: Iterable[Method]) -> tuple[str, list[Method]]:
    """Return the objective of methods, and those with a balance."""
    methods = list(methods)
    for method in methods:
        if method.kind not in ('base', 'student') or method.changes:
            raise ValueError(
                f"'methods' needs bases and students without changes in 'tune' "
                f"(got '{method}')"
            )
    objectives = {method.objective for method in methods} or {''}
    if len(objectives) > 1:
        raise ValueError(
            f"'methods' needs one objective in 'tune', as their settings are "
            f'shared (got {sorted(objectives)})'
        )
    by_balance: dict[str, Method] = {}
    for method in methods:
        if not method.balance:
            continue
        other = by_balance.setdefault(method.balance, method)
        if other != method:
            raise ValueError(
                f"'methods' needs one of each balance in 'tune', as their "
                f"settings are shared (got '{other}' and '{method}')"
            )
    return objectives.pop(), list(by_balance.values())


def _section(run: Run, name: str) -> Mapping[str, Any]:
    """Return the effective settings of a section."""
    place = name
    if name in OBJECTIVES:
        place = 'objective'
    elif name in BALANCES:
        place = 'balance'
    return run.settings.get(place) or {}


def _in_effect(run: Run, name: str) -> Any:
    """Return the value of a setting in a run, :obj:`None` if it has none."""
    section, *parts = name.split('.')
    value: Any = _section(run, section)
    for part in parts:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _value(result: Result, monitor: str) -> float:
    """Return the best validation of a run."""
    values = [entry[monitor] for entry in result.history]
    if not values:
        raise ValueError('it ended before its first evaluation')
    best = max(values)
    if not math.isfinite(best):
        raise ValueError(f'{monitor} was {best}')
    return best
