"""The engine: plans runs, trains those that are not finished, keeps all."""

from __future__ import annotations

import math
import pickle
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from statistics import fmean

import numpy as np
import torch
from pytorch_lightning import Callback
from torch import nn
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from pyg_ckd.balance import Teacher
from pyg_ckd.experiments.backbones import BACKBONES, BASELINES, Maker
from pyg_ckd.experiments.build import (
    balance_of,
    model_of,
    objective_of,
    transforms_of,
)
from pyg_ckd.experiments.callbacks import Clock, Tell
from pyg_ckd.experiments.environment import environment, reset_peak_memory
from pyg_ckd.experiments.fingerprints import fingerprint, splits
from pyg_ckd.experiments.identity import identity_of
from pyg_ckd.experiments.method import Method, named
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.results import Results
from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.settings import Settings
from pyg_ckd.experiments.store import Store
from pyg_ckd.experiments.watcher import Watcher
from pyg_ckd.graph import RATES, check, modalities
from pyg_ckd.graph import fingerprint as graph_fingerprint
from pyg_ckd.inspect import knock_out
from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.metrics import BEYOND, hits, means, per_user
from pyg_ckd.nn import FixedEmbeddings
from pyg_ckd.ranking import Ranking, evaluate, rank_views
from pyg_ckd.serving import save
from pyg_ckd.train import Recommendation, SaveLast, WatchViews, fit
from pyg_ckd.transforms import FeaturePCA
from pyg_ckd.views import Keep, full, only, view_name


class Experiment:
    """Runs of backbones and methods on one data set.

    A run is trained once, however often and by however many processes it is
    asked for; killed at any moment, it goes on from its last evaluation.

    Args:
        dataset (str): The name of the data set.
        open (callable): Returns the graph, given the transform that adds the
            graphs of a backbone and changes features as settings say, or
            :obj:`None`.
        settings (Settings): The settings of runs.
        store (Store): Where results are kept.
        backbones (dict, optional): Backbones by name: classes of ours, or
            whatever returns a module when it is called with the graph and the
            ``model`` settings.
            (default: :obj:`~pyg_ckd.experiments.BACKBONES`)
        max_epochs (int, optional): The largest number of epochs, where the
            settings name none. (default: :obj:`1000`)
        device (str, optional): ``"auto"``, ``"cpu"`` or ``"cuda"``.
            (default: :obj:`"auto"`)
        test (bool, optional): Whether runs are tested; those of a search for
            settings are not. (default: :obj:`True`)
        save (bool, optional): Whether the models of bases and students are
            saved to be served. (default: :obj:`False`)

    Raises:
        ValueError: If settings are of other data sets, or of no backbone.

    Example:
        >>> import tempfile
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.experiments import METHODS
        >>> def shop(pre_transform):
        ...     return FakeMultimodal(num_users=20, num_items=30,
        ...                           pre_transform=pre_transform)[0]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     experiment = Experiment(
        ...         'shop', shop, Settings({}), Store(folder), max_epochs=1)
        ...     runs = experiment.plan(['VBPR'], [METHODS['base']], seeds=[0])
        ...     [str(result.run) for result in experiment.run(runs)]
        ['VBPR base 0']
    """

    def __init__(
        self,
        dataset: str,
        open: Callable[[BaseTransform | None], HeteroData],
        settings: Settings,
        store: Store,
        *,
        backbones: Mapping[str, Maker] = BACKBONES,
        max_epochs: int = 1000,
        device: str = 'auto',
        test: bool = True,
        save: bool = False,
    ) -> None:
        self.dataset = dataset
        self.open = open
        self.settings = settings
        self.store = store
        self.backbones = backbones
        self.max_epochs = max_epochs
        self.device = device
        self.test = test
        self.save = save
        check_whole('Experiment', max_epochs=max_epochs)
        settings.check(dataset, dict.fromkeys([*backbones, *BACKBONES]))
        self._graphs: dict[bytes, HeteroData] = {}
        # Taken once, as code may be edited, and makers change, meanwhile:
        self._identities: dict[str, str] = {}

    # Plan ###################################################################

    def plan(
        self,
        backbones: Iterable[str],
        methods: Iterable[Method],
        seeds: Iterable[int],
    ) -> list[Run]:
        """Return runs, each after those that it learns from.

        Where no modality is there to be kept in balance, which is so for
        baselines and for data with fewer than two, there is the base alone.

        Args:
            backbones: Names of backbones.
            methods: How to train each; a teacher without a modality is one of
                each.
            seeds: Random seeds.

        Raises:
            ValueError: If a backbone or a modality is unknown, settings or
                teachers do not fit, a seed is no whole number of 32 bits, or
                the data lacks a split.
        """
        runs: dict[tuple[str, str], Run] = {}
        methods, seeds = list(methods), list(seeds)
        if isinstance(backbones, str):
            raise ValueError(
                f"'backbones' needs to be a list of names in 'plan' (got "
                f'{backbones!r})'
            )
        for method in methods:
            if not isinstance(method, Method):
                raise ValueError(
                    f"'methods' needs to be a list of methods in 'plan', such "
                    f"as METHODS['ckd'] (got {method!r})"
                )
        for backbone in backbones:
            for seed in seeds:
                for method in self._expanded(backbone, methods):
                    run = self.planned(backbone, method, seed)
                    for each in (*self._chain(run), run):
                        runs.setdefault((each.key, str(each)), each)
        named = {run.key for run in runs.values()}
        assert all(set(run.teachers) <= named for run in runs.values())
        return list(runs.values())

    def planned(self, backbone: str, method: Method, seed: int) -> Run:
        """Return one run, with its effective settings."""
        if backbone not in self.backbones:
            raise ValueError(
                f"'{backbone}' is no backbone; there are "
                f'{", ".join(self.backbones)}'
            )
        names = modalities(self.data())
        if method.modality and method.modality not in names:
            raise ValueError(
                f"'{method.modality}' is no modality of '{self.dataset}'; "
                f'there are {", ".join(names)}'
            )
        settings = self.settings.effective(
            self.dataset,
            backbone,
            self.backbones[backbone],
            method,
            self.max_epochs,
            self._identity(backbone),
        )
        if method.kind == 'ensemble':  # it is made of its teachers alone
            settings = {}
        run = Run(
            self.dataset, backbone, method, seed, settings, self.fingerprint
        )
        needed = [teacher.key for teacher in self.needs(run)]
        return replace(run, teachers=tuple(needed))

    def needs(self, run: Run) -> list[Run]:
        """Return the runs that a run learns from."""
        method = run.method

        def of(backbone: str, kind: Method) -> list[Run]:
            kinds = self._expanded(backbone, [kind])
            return [self.planned(backbone, each, run.seed) for each in kinds]

        teachers = Method('teacher', objective=method.objective)
        if method.kind == 'ensemble' or method.teachers in ('own', 'ensemble'):
            return of(run.backbone, teachers)
        base = Method(objective=method.objective)
        if method.teachers == 'base':
            if method.generation > 1:
                before = method.generation - 1
                base = named(replace(method, generation=before, name=''))
            return of(run.backbone, base)
        if method.teachers:
            own = base if method.taught == 'full' else teachers
            is_plain = method.teachers in BASELINES
            others = of(method.teachers, Method() if is_plain else own)
            if not others:
                raise ValueError(
                    f"'{method.teachers}' cannot teach '{run.backbone}': it "
                    f'has no teacher of one modality'
                )
            return [*of(run.backbone, own), *others]
        return []

    def _chain(self, run: Run) -> Iterator[Run]:
        for each in self.needs(run):
            yield from self._chain(each)
            yield each

    def _expanded(
        self, backbone: str, methods: Iterable[Method]
    ) -> Iterator[Method]:
        """Yield the methods of a backbone, with a teacher for each modality."""
        names = modalities(self.data())
        is_baseline = backbone in BASELINES
        is_plain = is_baseline or len(names) < 2
        for method in methods:
            if is_plain and method.kind != 'base':
                continue
            if is_baseline and 'extra' in method.changes:
                continue
            if method.kind == 'teacher' and not method.modality:
                for modality in names:
                    yield replace(method, modality=modality)
            else:
                yield method

    # Data ###################################################################

    def data(self, run: Run | None = None) -> HeteroData:
        """Return the data set, as a run needs it if one is given."""
        steps = []
        if run is not None:
            make = self.backbones[run.backbone]
            steps = transforms_of(make, run.settings)
        transform = Compose(steps) if steps else None
        key = b' '.join(map(_told_apart, steps))
        if key not in self._graphs:
            needed = ('val', 'test') if self.test else ('val',)
            try:
                data = check(self.open(transform), splits=needed)
            except ValueError as error:
                if run is None or FeaturePCA.__name__ not in str(error):
                    raise
                raise ValueError(
                    f"'components' of [{self.dataset}.{run.backbone}.extra] "
                    f'do not suit the data: {error}'
                ) from error
            if run is not None:
                self._check_same(data, run, transform)
            self._graphs[key] = data
        return self._graphs[key]

    @cached_property
    def fingerprint(self) -> str:
        """What tells the data from others, with validation and test."""
        return fingerprint(self.data())

    def _identity(self, backbone: str) -> str:
        if backbone not in self._identities:
            make = self.backbones[backbone]
            self._identities[backbone] = identity_of(make, backbone)
        return self._identities[backbone]

    def _check_same(
        self, data: HeteroData, run: Run, transform: BaseTransform | None
    ) -> None:
        """Refuse other data than runs are named after.

        Features may be changed by the transform of a backbone that is not of
        the library, and are where they are standardised or reduced.
        """
        backbone, extra = run.backbone, run.settings.get('extra', {})
        changed = extra.get('standardize') or extra.get('components')
        tell = splits if changed or self._identity(backbone) else fingerprint
        if tell(data) != tell(self.data()):
            raise ValueError(
                f"'open' gave other data for '{backbone}' than before; it "
                f'needs to give the same each time: seed a random split, and '
                f'let files be while runs are planned and trained'
            )
        if changed and transform is not None:
            same = fingerprint(data) == self.fingerprint
            if same and fingerprint(transform(self.data())) != self.fingerprint:
                raise ValueError(
                    f"'open' did not apply the transform that it was given for "
                    f"'{backbone}', which is to change features: pass it on as "
                    f"the 'pre_transform' of a data set, or call it"
                )

    # Run ####################################################################

    def run(
        self,
        runs: Sequence[Run],
        watcher: Watcher | None = None,
        retry: bool = False,
    ) -> list[Result]:
        """Train the runs that are not finished, and return all results.

        Runs that other processes are at work on are left to them and waited
        for. A run that fails is kept with its reason, and others go on; those
        that it would have taught have no result. Notebooks show a table of
        the results, and so does ``print``.

        Args:
            runs: What :meth:`plan` returned.
            watcher: What is told of it.
            retry: Whether to train runs again that failed before, or whose
                embeddings are lost.
        """
        watcher = watcher or Watcher()
        left = {run.key: run for run in runs}
        before = {key: self.store.get(key) for key in left}

        def is_over(run: Run) -> bool:
            result = self.store.get(run.key)
            if result is None:
                return False
            if retry and result.error and result is before[run.key]:
                return False
            if result.error:
                return True
            if self.test and not result.test:
                return False
            if self._saves(run) and not self.store.model(run.key).exists():
                return False
            teaches = any(
                run.key in other.teachers and not is_over(other)
                for other in left.values()
            )
            is_needed = teaches or retry
            return self.store.embeddings(run.key).exists() or not is_needed

        while left:
            busy = True
            for key, run in list(left.items()):
                missing = [t for t in run.teachers if not self._can_teach(t)]
                gone = [teacher for teacher in missing if teacher not in left]
                if is_over(run):
                    self.store.sweep(key)
                    del left[key]
                elif gone:
                    watcher.problem(f"'{run}' is not run: {self._why(gone[0])}")
                    del left[key]
                elif not missing:
                    with self.store.claim(key) as claimed:
                        if not claimed:
                            continue
                        if not is_over(run):
                            self._train_and_keep(run, watcher)
                            if self.store.get(key) is None:
                                raise RuntimeError(
                                    f"the result of '{run}' cannot be read "
                                    f'again: {self.store.problems[-1:]}'
                                )
                        self.store.clear(key)
                    busy = False
            if left and busy:
                watcher.waiting(list(left.values()))
                time.sleep(1)
        found = [(run, self.store.get(run.key)) for run in runs]
        return Results(
            replace(result, run=run) for run, result in found if result
        )

    def _can_teach(self, key: str) -> bool:
        result = self.store.get(key)
        is_well = result is not None and not result.error
        return is_well and self.store.embeddings(key).exists()

    def _why(self, key: str) -> str:
        """Return why a run cannot teach."""
        result = self.store.get(key)
        if result is None:
            return f"a teacher, '{key}', is not among the runs"
        if result.error:
            return f"its teacher '{result.run}' failed ({result.error})"
        return f"the embeddings of its teacher '{result.run}' are lost"

    def _train_and_keep(self, run: Run, watcher: Watcher) -> None:
        watcher.begin(run)
        start = time.perf_counter()
        try:
            with random_state_kept():
                result = self._resumed(run, watcher)
        except Exception as error:
            reason = f'{type(error).__name__}: {error}'
            known = environment(self._device)
            result = Result(run, environment=known, error=reason)
        wall = round(time.perf_counter() - start, 1)
        result.environment['wall_seconds'] = wall  # since it began or went on
        self.store.save(result)
        watcher.end(run, result)

    def _resumed(self, run: Run, watcher: Watcher) -> Result:
        """Train from the checkpoint; from the beginning if it is of no use."""
        path = self.store.checkpoint(run.key)
        tell = Tell(run, watcher)
        if path.exists():
            try:
                return self.train(run, [tell])
            except Exception as error:
                if tell.began:  # it went on, and failed later
                    raise
                watcher.problem(
                    f"'{run}' begins anew, as it could not go on from "
                    f"'{path}' ({error})"
                )
                path.unlink(missing_ok=True)
        return self.train(run, [tell])

    def train(self, run: Run, callbacks: Sequence[Callback] = ()) -> Result:
        """Train one run, from its checkpoint if there is one, and test it.

        Its embeddings are kept, its result is not.

        Args:
            run: The run; its teachers are finished.
            callbacks: Further callbacks of Lightning.
        """
        data = self.data(run)
        names = modalities(data)
        keep = only(run.method.modality) if run.method.modality else full(names)
        if run.method.kind == 'ensemble':
            parts = [t.rescaled(1.0) for t in self._own_teachers(run).values()]
            model: nn.Module = FixedEmbeddings.ensemble(
                [(teacher.user, teacher.item) for teacher in parts]
            )
            return self._evaluated(run, model, data, keep, [], 0.0)

        reset_peak_memory()
        seed_everything(run.seed)
        settings = run.settings
        model = model_of(self.backbones[run.backbone], data, settings)
        task = Recommendation(
            model,
            data,
            objective_of(settings),
            balance_of(settings['balance'], self._teachers_on(data, run)),
            keep=keep,
            **settings['train'],
        )
        path, clock = self.store.checkpoint(run.key), Clock()
        watch = [] if run.method.kind == 'teacher' else [*map(only, names)]
        fit(
            task,
            progress=False,
            accelerator=self.device,
            callbacks=[clock, WatchViews(*watch), *callbacks, SaveLast(path)],
            ckpt_path=path if path.exists() else None,
            **settings['fit'],
        )
        if not task.history:
            raise ValueError(
                'training ended before its first evaluation, so that there is '
                'nothing to choose weights by'
            )
        return self._evaluated(
            run, model, data, keep, task.history, clock.seconds
        )

    def _evaluated(
        self,
        run: Run,
        model: nn.Module,
        data: HeteroData,
        keep: Keep,
        history: list[dict[str, float]],
        seconds: float,
    ) -> Result:
        """Return what a trained model gives, and keep its embeddings."""
        model.to(self._device)  # Lightning leaves it on the CPU
        result = Result(
            run,
            val=evaluate(model, data, 'val', view=keep),
            history=history,
            epochs=round(history[-1]['epoch']) if history else 0,
            seconds=round(seconds, 1),
            environment=environment(self._device),
        )
        if self.test:
            keeps = [keep] if run.method.kind == 'teacher' else None
            rankings = rank_views(model, data, 'test', k=20, keeps=keeps)
            trained = rankings[view_name(keep, modalities(data))]
            result.test = {
                view: metrics_of(each) for view, each in rankings.items()
            }
            result.users = {
                **per_user(trained, metrics=('recall', 'ndcg')),
                **per_user(trained, (20,), ('tail_recall',)),
            }
            result.hits = hits(trained)
            if (
                run.method.kind in ('base', 'student')
                and run.backbone not in BASELINES
                and modalities(data)
            ):
                found = knock_out(model, data, split='test')
                result.knocked_out = found.to_dict()
        teacher = Teacher.from_model(
            model, data, keep, {'run': str(run), 'key': run.key}
        )
        teacher.save(self.store.embeddings(run.key))
        if self._saves(run):
            save(model, data, self.store.model(run.key))
        return result

    def _saves(self, run: Run) -> bool:
        return self.save and run.method.kind in ('base', 'student')

    @property
    def _device(self) -> torch.device:
        use_gpu = self.device != 'cpu' and torch.cuda.is_available()
        return torch.device('cuda' if use_gpu else 'cpu')

    # Teachers ###############################################################

    def teachers(self, run: Run) -> dict[Keep, Teacher]:
        """Return the teachers of a run by what they teach."""
        method = run.method
        if not method.teachers:
            return {}
        names = modalities(self.data())
        keeps = [only(name) for name in names]
        if method.taught == 'full':
            keeps = [full(names)]
        if method.teachers == 'base':
            (base,) = map(self._teacher, self.needs(run))
            return dict.fromkeys(keeps, base)
        own = self._own_teachers(run)
        if method.teachers == 'own':
            return own
        # Scores of others may be far larger, see `Teacher.rescaled`:
        spread = dict.fromkeys(keeps, fmean(t.spread for t in own.values()))
        spread |= {keep: teacher.spread for keep, teacher in own.items()}
        if method.teachers == 'ensemble':
            scaled = [teacher.rescaled(1.0) for teacher in own.values()]
            others = dict.fromkeys(keeps, Teacher.average(scaled))
        else:
            others = self._teachers_of(run, method.teachers)
            if set(others) == {full(names)}:
                others = dict.fromkeys(keeps, others[full(names)])
        return {keep: others[keep].rescaled(spread[keep]) for keep in keeps}

    def _teachers_on(self, data: HeteroData, run: Run) -> dict[Keep, Teacher]:
        """Return the teachers of a run, as trained on its data.

        All are of one data set, but some may have standardised features.
        """
        own = graph_fingerprint(data)
        return {
            keep: replace(teacher, data_fingerprint=own)
            for keep, teacher in self.teachers(run).items()
        }

    def _own_teachers(self, run: Run) -> dict[Keep, Teacher]:
        return self._teachers_of(run, run.backbone)

    def _teachers_of(self, run: Run, backbone: str) -> dict[Keep, Teacher]:
        """Return those of one backbone that a run learns from, by view."""
        names = modalities(self.data())
        found = {}
        for need in self.needs(run):
            if need.backbone == backbone:
                modality = need.method.modality
                keep = only(modality) if modality else full(names)
                found[keep] = self._teacher(need)
        return found

    def _teacher(self, run: Run) -> Teacher:
        path = self.store.embeddings(run.key)
        if not path.exists():
            raise ValueError(f"'{path}', of '{run}', is missing")
        try:
            teacher = Teacher.load(path)
            whose = teacher.settings.get('key')
        except (ValueError, OSError) as error:
            path.unlink(missing_ok=True)
            raise ValueError(
                f"'{path}' was damaged and is removed; 'retry' trains '{run}' "
                f'again ({error})'
            ) from error
        if whose != run.key:
            raise ValueError(
                f"'{path}' is of another run, '{whose}': remove it; 'retry' "
                f"trains '{run}' again"
            )
        return teacher

    # Words ##################################################################

    def about(self) -> list[str]:
        """Return what the data and the protocol are, for a report."""
        data = self.data()
        rates = data[RATES]
        train, val, test = (
            f'{rates[name].size(1):,}' if name in rates else 'no'
            for name in (
                'edge_index',
                'val_edge_label_index',
                'test_edge_label_index',
            )
        )
        widths = [
            f'{m} {data["item"][f"x_{m}"].size(1)}-d' for m in modalities(data)
        ]
        return [
            f'Data: {self.dataset}, {data["user"].num_nodes:,} users, '
            f'{data["item"].num_nodes:,} items, {train} training, {val} '
            f'validation and {test} test interactions; '
            f'{", ".join(widths) or "no features"} '
            f'(fingerprint {self.fingerprint}).',
            'Protocol: all items are ranked, those of training left out; the '
            'weights with the best validation are tested once.',
        ]


def metrics_of(ranking: Ranking) -> dict[str, float]:
    """Return the metrics that are kept of a view, without those of no user."""
    found = {**means(ranking), **means(ranking, (20,), BEYOND)}
    return {name: x for name, x in found.items() if not math.isnan(x)}


def _told_apart(transform: BaseTransform) -> bytes:
    """Return what tells a transform from others."""
    try:
        return pickle.dumps(transform)
    except Exception:  # it holds what cannot be written
        return str(id(transform)).encode()


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave the generators of the process, but that of GPUs, as they were."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)
