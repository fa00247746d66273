"""The trials of searches, kept in Optuna's storage."""

from __future__ import annotations

import csv
import io
import json
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from filelock import FileLock
from pytorch_lightning import Callback, LightningModule, Trainer

from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.experiments.store import Store
from pyg_ckd.experiments.tuning.spaces import Space
from pyg_ckd.train import Recommendation

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

#: Trials at random before the others learn from them.
RANDOM = 10
#: A trial may be pruned when so many evaluations, and one more, brought it
#: nothing better.
PATIENCE = 2


@dataclass(frozen=True)
class Tried:
    """One trial, as a line of ``trials.csv``.

    Args:
        dataset (str): The data set.
        backbone (str): The backbone.
        method (str): What is tuned.
        study (str): What tells searches of a method apart, as those in other
            spaces or on another base.
        number (int, optional): The number of the trial in its study.
        state (str): ``"complete"``, ``"pruned"``, ``"failed"``, ``"running"``,
            ``"waiting"``, ``"killed"`` if its process was, or ``"base"`` for
            the base as the trial of a balance that is switched off.
        value (float, optional): The best validation; of a pruned trial, the
            last one.
        params (dict): The settings that were searched, as they were trained.
        epochs (int, optional): The number of epochs until training stopped.
        seconds (float, optional): How long it took.
        key (str): The :attr:`~pyg_ckd.experiments.Run.key` of its run.
        reason (str): Why it was pruned, failed, or tried.
    """

    dataset: str
    backbone: str
    method: str
    study: str
    number: int | None
    state: str
    value: float | None
    params: Mapping[str, Any]
    epochs: int | None
    seconds: float | None
    key: str
    reason: str


class Trials:
    """The trials of all searches in one folder, shared by processes.

    All that changes which trials there are is done under one lock of the
    folder, and a trial that is worked at has a lock of its own, which its
    process loses when it ends in whatever way. So a number of trials is met
    exactly, and what a process that was killed has left is seen at once and
    tried again.

    Args:
        store (Store): The store of the folder.
        url (str, optional): A storage of Optuna; by default, ``optuna.db`` in
            the folder.
        seed (int): What trials are drawn by.
        pruner (optuna.pruners.BasePruner, optional): When to give up a trial.

    Raises:
        ImportError: If Optuna is missing.
    """

    def __init__(
        self,
        store: Store,
        url: str | None,
        seed: int,
        pruner: BasePruner | None,
    ) -> None:
        self.optuna, _ = packages()
        self.store = store
        self.seed = seed
        self.pruner = pruner or self._pruner()
        self.folder = store.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(self.folder / 'tune.lock')
        self.url = url or _url_of(self.folder / 'optuna.db')
        # Others may be writing:
        wait = {'connect_args': {'timeout': 60}}
        with self.lock:
            self.storage = self.optuna.storages.RDBStorage(
                self.url, wait if self.url.startswith('sqlite') else None
            )
            self.prefix = f'{self._identity()} '
        self._studies: dict[str, Study] = {}

    def study(self, name: str, about: Mapping[str, Any]) -> Study:
        """Return a study, a new one if there is none of the name.

        Args:
            name: What tells it from others.
            about: What is kept of it.
        """
        with self.lock:
            study = self.optuna.create_study(
                storage=self.storage,
                study_name=f'{self.prefix}{name}',
                direction='maximize',
                load_if_exists=True,
                pruner=self.pruner,
            )
            kept = study.user_attrs
            for key, value in about.items():
                if kept.get(key) != value:
                    study.set_user_attr(key, value)
        self._studies[study.study_name] = study
        return study

    def studies(self) -> Iterator[Study]:
        """Yield all studies of the folder."""
        for name in self.optuna.get_all_study_names(self.storage):
            if name.startswith(self.prefix):
                if name not in self._studies:
                    self._studies[name] = self.optuna.load_study(
                        study_name=name, storage=self.storage
                    )
                yield self._studies[name]

    # Work ###################################################################

    def take(
        self, study: Study, budget: int, space: Space, start: Mapping[str, Any]
    ) -> Taken | None:
        """Take a trial, if not all of a budget are taken.

        Args:
            study: The study.
            budget: How many trials there shall be.
            space: What is searched.
            start: The settings to start from, tried first.
        """
        states = self.optuna.trial.TrialState
        with self.lock:
            self._recover(study)
            slots = slots_of(study)
            if not any(trial.user_attrs.get('start') for trial in slots):
                inside = {k: v for k, v in start.items() if space[k].has(v)}
                study.enqueue_trial(inside, {'start': True})
                slots = slots_of(study)
            waiting = [t for t in slots if t.state == states.WAITING]
            if len(slots) >= budget and not waiting:
                return None
            study.sampler = self._sampler(study, len(slots))
            trial = study.ask()
            changes: dict[str, Any] = {}
            if trial.user_attrs.get('start'):
                for name, value in start.items():
                    if space[name].has(value):
                        space[name].suggest(trial, name)
            else:
                changes = {k: v.suggest(trial, k) for k, v in space.items()}
            trial.set_user_attr('changes', changes)
            numbers = [each.number for each in slots_of(study)]
            claim = ExitStack()
            claimed = claim.enter_context(
                self.store.claim(self._name(study, trial.number))
            )
            assert claimed
        return Taken(trial, changes, numbers.index(trial.number) + 1, claim)

    def close(
        self,
        study: Study,
        taken: Taken,
        state: str,
        value: float | None = None,
        **about: Any,
    ) -> Tried:
        """Finish a trial, and write the table.

        Args:
            study: The study.
            taken: The trial.
            state: ``"complete"``, ``"pruned"`` or ``"failed"``.
            value: Its best validation.
            **about: What is kept of it.
        """
        state = {'failed': 'FAIL'}.get(state, state.upper())
        is_complete = state == 'COMPLETE'
        with self.lock, taken.claim:
            for name, each in about.items():
                taken.trial.set_user_attr(name, each)
            study.tell(
                taken.trial,
                value if is_complete else None,
                self.optuna.trial.TrialState[state],
            )
            self.store.clear(self._name(study, taken.trial.number))
            self.write()
        number = taken.trial.number
        return next(each for each in tried_of(study) if each.number == number)

    def left(self, study: Study) -> list[FrozenTrial]:
        """Return the trials that are not finished."""
        return [t for t in slots_of(study) if not t.state.is_finished()]

    def write(self) -> None:
        """Write ``trials.csv``."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator='\n')
        rows.writerow([one.name for one in fields(Tried)])
        for study in self.studies():
            for tried in tried_of(study):
                *rest, params, epochs, seconds, key, reason = astuple(tried)
                shown = json.dumps(params)
                rows.writerow([*rest, shown, epochs, seconds, key, reason])
        with open_atomic(self.folder / 'trials.csv') as file:
            file.write(text.getvalue().encode())

    def _recover(self, study: Study) -> None:
        """Put trials whose process has ended in line again."""
        states = self.optuna.trial.TrialState
        for trial in study.get_trials(deepcopy=False, states=[states.RUNNING]):
            name = self._name(study, trial.number)
            with self.store.claim(name) as is_free:
                if not is_free:
                    continue
                study.tell(trial.number, state=states.FAIL)
                if is_killed(study.get_trials(deepcopy=False)[trial.number]):
                    kept = trial.user_attrs.get('start')
                    study.enqueue_trial(
                        trial.params, {'start': True} if kept else None
                    )
                self.store.clear(name)

    def _sampler(self, study: Study, slot: int) -> BaseSampler:
        """Return what draws a trial: the same, whenever a search went on."""
        name = study.study_name.removeprefix(self.prefix)
        seed = zlib.crc32(f'{self.seed} {name} {slot}'.encode())
        with self._experimental():
            return self.optuna.samplers.TPESampler(
                n_startup_trials=RANDOM,
                multivariate=False,
                constant_liar=True,
                seed=seed,
            )

    def _pruner(self) -> BasePruner:
        pruners = self.optuna.pruners
        with self._experimental():
            return pruners.PatientPruner(pruners.MedianPruner(), PATIENCE)

    @contextmanager
    def _experimental(self) -> Iterator[None]:
        """Let Optuna say nothing of parts that it calls experimental."""
        with warnings.catch_warnings():
            warnings.simplefilter(
                'ignore', self.optuna.exceptions.ExperimentalWarning
            )
            yield

    def _name(self, study: Study, number: int) -> str:
        return f'trial-{zlib.crc32(study.study_name.encode()):08x}-{number}'

    def _identity(self) -> str:
        """Return what tells the folder from others in the same storage."""
        path = self.folder / 'id'
        if not path.exists():
            with open_atomic(path) as file:
                file.write(uuid4().hex[:8].encode())
        return path.read_text()


@dataclass(frozen=True)
class Taken:
    """A trial that this process works at.

    Args:
        trial (optuna.Trial): The trial.
        changes (dict): The settings that it tries.
        place (int): The how many-th it is, from 1 on.
        claim (contextlib.ExitStack): What gives it up.
    """

    trial: Trial
    changes: dict[str, Any]
    place: int
    claim: ExitStack


class Report(Callback):
    """Reports evaluations to a trial, and ends it when it is pruned.

    The settings to start from are never given up.

    Args:
        trial (optuna.Trial): The trial.
        monitor (str): The value to report.
    """

    def __init__(self, trial: Trial, monitor: str) -> None:
        self.trial = trial
        self.monitor = monitor
        #: The last epoch that was evaluated.
        self.epoch = 0

    def on_train_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Report what is new, after a resumption all that was before."""
        assert isinstance(pl_module, Recommendation)
        new = [x for x in pl_module.history if x['epoch'] > self.epoch]
        for entry in new:
            self.epoch = round(entry['epoch'])
            self.trial.report(entry[self.monitor], self.epoch)
        starts = self.trial.user_attrs.get('start', False)
        if new and not starts and self.trial.should_prune():
            from optuna import TrialPruned

            raise TrialPruned(f'gave up after epoch {self.epoch}')


def packages() -> tuple[ModuleType, ModuleType]:
    """Return Optuna and what writes TOML.

    Raises:
        ImportError: If one is missing.
    """
    try:
        import optuna
        import tomli_w
    except ImportError as error:
        raise ImportError(
            f"'tune' needs the package '{error.name}': pip install "
            f'pyg_ckd[tune]'
        ) from error
    return optuna, tomli_w


@contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna tell of what goes wrong alone."""
    logging = packages()[0].logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def is_killed(trial: FrozenTrial) -> bool:
    """Return whether it was left by its process, and another took its place."""
    return trial.state.name == 'FAIL' and 'reason' not in trial.user_attrs


def slots_of(study: Study) -> list[FrozenTrial]:
    """Return the trials that count, in their order."""
    return [t for t in study.get_trials(deepcopy=False) if not is_killed(t)]


def tried_of(study: Study) -> Iterator[Tried]:
    """Yield the lines of a study for the table."""
    about = study.user_attrs
    place = about['dataset'], about['backbone'], about['shown'], about['study']
    base = about.get('base')
    if base:
        off, reason = about['off'], 'the base, switched off'
        value, key = base['value'], base['key']
        yield Tried(*place, None, 'base', value, off, None, None, key, reason)
    for trial in study.get_trials(deepcopy=False):
        kept = trial.user_attrs
        state = trial.state.name.lower()
        reason = kept.get('reason', '')
        if is_killed(trial):
            state, reason = 'killed', 'its process ended; it is tried again'
        elif kept.get('start') and not reason:
            reason = 'the settings to start from'
        yield Tried(
            *place,
            trial.number,
            {'fail': 'failed'}.get(state, state),
            trial.value,
            kept.get('params', {}),
            kept.get('epochs'),
            kept.get('seconds'),
            kept.get('key', ''),
            reason,
        )


def shown_url(url: str) -> str:
    """Return where trials are kept, without a password and without folders.

    Example:
        >>> shown_url('postgresql://me:secret@server/trials')
        'postgresql://me:***@server/trials'
    """
    from sqlalchemy.engine import make_url

    parts = make_url(url)
    if parts.drivername.startswith('sqlite'):
        return Path(parts.database or '').name
    return parts.render_as_string(hide_password=True)


def _url_of(path: Path) -> str:
    from sqlalchemy.engine import URL

    url = URL.create('sqlite', database=str(path.absolute()))
    return url.render_as_string(hide_password=False)
