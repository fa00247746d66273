"""Trains recommenders with and without CKD and reports what came out.

    python benchmarks/run_all.py
    python benchmarks/run_all.py --dataset baby --root data --backbone VBPR \
        --method base teachers ckd --seed 0 1 2

Without arguments it runs a synthetic data set, offline, in a few minutes. A
data set is a folder `ROOT/NAME` in the format of MMRec or of LATTICE, or
whatever else `open_dataset` finds by its name. Baselines that CKD cannot teach
come first in the table, as a base only. Each cell of the table (data set,
backbone, method, seed) is written to `results/<run>/` as soon as it is
finished, with the test metrics of each user, and is not run again; an
interrupted run goes on where it stopped. Settings come from `settings.toml`.
It ends with a table and `report.html`, a page to look at.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text
from torch import nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from pyg_ckd import __version__
from pyg_ckd.analysis import (
    Result,
    load_results,
    report,
    save_result,
    summarize,
)
from pyg_ckd.balance import (
    CKD,
    CounterfactualWeights,
    Hinge,
    SoftCrossEntropy,
    Teacher,
)
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.datasets._open_dataset import open_dataset
from pyg_ckd.graph import fingerprint, modalities
from pyg_ckd.metrics import hits, means, per_user
from pyg_ckd.nn import (
    BM3,
    BPRMF,
    FREEDOM,
    GRCN,
    LATTICE,
    MGCN,
    MICRO,
    MMGCN,
    SMORE,
    VBPR,
    EgoGCN,
    FeatureKNN,
    InteractionKNN,
    LGMRec,
    LightGCN,
    Popularity,
    Recommender,
)
from pyg_ckd.objectives import BPR
from pyg_ckd.ranking import evaluate, rank_views
from pyg_ckd.train import Recommendation, WatchViews, fit
from pyg_ckd.views import Keep, full, only, view_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BACKBONES: dict[str, type[Recommender]] = {
    'VBPR': VBPR,
    'LightGCN': LightGCN,
    'MMGCN': MMGCN,
    'GRCN': GRCN,
    'EgoGCN': EgoGCN,
    'LATTICE': LATTICE,
    'MICRO': MICRO,
    'FREEDOM': FREEDOM,
    'MGCN': MGCN,
    'LGMRec': LGMRec,
    'SMORE': SMORE,
}
# Without parameters, or with scores that do not depend on features, so that
# there is nothing to distil:
BASELINES: dict[str, type[Recommender]] = {
    'Popularity': Popularity,
    'InteractionKNN': InteractionKNN,
    'FeatureKNN': FeatureKNN,
    'BPRMF': BPRMF,
    'LightGCN-ID': LightGCN,  # with `use = []` in the settings
    'BM3': BM3,
}
MODELS = BASELINES | BACKBONES
#: Synthetic data sets; `fake3` has three modalities, each weaker than the last.
FAKES: dict[str, dict[str, dict[str, float]]] = {
    'fake': {},
    'fake3': {
        'taste': {'text': 1.0, 'image': 0.7, 'audio': 0.5},
        'noise': {'text': 0.25, 'image': 0.5, 'audio': 1.0},
    },
}
#: What CKD is put together from, by the name of its argument.
PARTS: dict[str, type[nn.Module]] = {
    'on_batch': Hinge,
    'on_random': SoftCrossEntropy,
    'weights': CounterfactualWeights,
}
METHODS = ('base', 'teachers', 'ckd')
REPOSITORY = Path(__file__).resolve().parents[1]
Cell = tuple[str, str, int]  # backbone, method, seed


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    folder = args.results / (args.run or args.dataset)
    folder.mkdir(parents=True, exist_ok=True)
    bench = Benchmark(args, folder)

    cells = list(bench.cells())
    console = Console()
    baselines = [name for name in args.backbone if name in BASELINES]
    if baselines and args.method != ['base']:
        console.print(
            f'Only the base is run of {", ".join(baselines)}: they have no '
            f'parameters, or scores that do not depend on features'
        )
    if not cells:
        raise SystemExit('Nothing to run')
    run_cells(bench, cells, console)
    finish(bench, cells, console)


def run_cells(bench: Benchmark, cells: list[Cell], console: Console) -> None:
    """Run the cells that are not finished, and show how far they are."""
    console.print(
        f'{len(cells)} cells, {sum(map(bench.done, cells))} of them finished '
        f'before; results in {bench.folder}'
    )
    with Progress(
        TextColumn('{task.description}', markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn('{task.fields[note]}'),
        console=console,
    ) as progress:
        total = progress.add_task('cells', total=len(cells), note='')
        for cell in cells:
            if not bench.done(cell):
                name = ' '.join(map(str, cell))
                epochs = progress.add_task(name, total=None, note='')
                bench.run(cell, ShowEpochs(progress, epochs))
                progress.remove_task(epochs)
                if not console.is_terminal:  # where no bar is shown
                    console.print(f'{name} is finished', markup=False)
            progress.advance(total)


def finish(bench: Benchmark, cells: list[Cell], console: Console) -> None:
    """Print the table of finished cells and write a report of them."""
    results = [bench.finished[bench.key(cell)] for cell in cells]
    table = terminal_table(summarize(results), f'{bench.args.dataset}, test')
    console.print(table)
    page = report(
        results,
        bench.folder / 'report.html',
        title=f'Recommenders on {bench.args.dataset}',
        about=bench.about(),
        data=bench.data(None),
    )
    console.print(f'Report: {page}')


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train recommenders with and without CKD.'
    )
    quick = [*BASELINES, 'VBPR', 'LightGCN', 'FREEDOM']
    quick.remove('BM3')
    add_arguments(parser, backbones=MODELS, default=quick)
    parser.add_argument(
        '--method', nargs='+', default=list(METHODS), choices=METHODS
    )
    return parser.parse_args(argv)


def add_arguments(
    parser: argparse.ArgumentParser,
    backbones: Iterable[str],
    default: list[str],
) -> None:
    """Add the arguments that benchmarks have in common."""
    add = parser.add_argument
    add(
        '--dataset',
        default='fake',
        help="'fake', 'fake3' with three modalities, or a name below --root",
    )
    add('--root', default='datasets', type=Path)
    add('--backbone', nargs='+', default=default, choices=backbones)
    add('--seed', nargs='+', default=[0, 1, 2], type=int)
    add('--device', default='auto', help="'auto', 'cpu' or 'cuda'")
    add('--max-epochs', default=1000, type=int)
    add('--settings', default=Path(__file__).with_name('settings.toml'))
    add('--results', default=REPOSITORY / 'results', type=Path)
    add('--run', help='name of the folder below --results; the data set')
    add('--note', default='', help='a remark for the report')


class Benchmark:
    """Runs cells and remembers the finished ones."""

    def __init__(
        self,
        args: argparse.Namespace,
        folder: Path,
        variants: Mapping[str, dict[str, Any]] = MappingProxyType({}),
        transform: BaseTransform | None = None,
    ) -> None:
        self.args = args
        self.folder = folder
        self.variants = variants
        self.transform = transform
        sections = tomllib.loads(Path(args.settings).read_text())
        self.settings = {
            **sections.get('default', {}),
            **sections.get(args.dataset, {}),
        }
        self.finished = {result.key: result for result in load_results(folder)}

    def cells(self) -> Iterator[Cell]:
        """Yield the cells in an order in which teachers precede students."""
        baselines_first = sorted(
            self.args.backbone, key=lambda name: name in BACKBONES
        )
        for backbone in baselines_first:
            methods = self.args.method
            if backbone in BASELINES:
                methods = [name for name in methods if name == 'base']
            for seed in self.args.seed:
                if 'base' in methods:
                    yield backbone, 'base', seed
                if 'teachers' in methods or 'ckd' in methods:
                    for m in modalities(self.data(None)):
                        yield backbone, f'teacher({m})', seed
                if 'ckd' in methods:
                    yield backbone, 'ckd', seed
                    for variant in self.variants:
                        yield backbone, f'ckd[{variant}]', seed

    def data(self, backbone: str | None) -> HeteroData:
        """Return the data set with the graphs that a backbone needs."""
        return self._data(MODELS[backbone].pre_transform if backbone else None)

    @cache  # noqa: B019
    def _data(self, transform: BaseTransform | None) -> HeteroData:
        if self.transform:  # before graphs are built from features
            steps = [self.transform, *([transform] if transform else [])]
            transform = Compose(steps)
        if self.args.dataset in FAKES:
            sides = FAKES[self.args.dataset]
            return FakeMultimodal(**sides, pre_transform=transform)[0]
        return open_dataset(
            self.args.root,
            self.args.dataset,
            pre_transform=transform,
            processed_root=self.args.results / 'data',
        )[0]

    def key(self, cell: Cell) -> str:
        """Return what tells a cell from others: its name and settings."""
        backbone, method, seed = cell
        return Result(
            self.args.dataset,
            backbone,
            method,
            seed,
            self.all_settings(backbone, method),
        ).key

    def all_settings(self, backbone: str, method: str) -> dict[str, Any]:
        """Return all that the result of a cell depends on but its seed."""
        kind, variant = split_method(method)
        own = self.settings[backbone]
        parts = ['model', 'objective', 'train', 'fit']
        parts += ['ckd'] * (kind == 'ckd')
        settings = {part: dict(own.get(part, {})) for part in parts}
        settings['fit'].setdefault('max_epochs', self.args.max_epochs)
        settings = changed(settings, self.variants.get(variant, {}))
        settings['data'] = self._fingerprint()
        return settings

    @cache  # noqa: B019
    def _fingerprint(self) -> str:
        return fingerprint(self.data(None))[:12]

    def done(self, cell: Cell) -> bool:
        """Return whether the cell was finished before."""
        backbone, method, seed = cell
        path = self.teacher_path(backbone, method, seed)
        lost = method.startswith('teacher') and not path.exists()
        return self.key(cell) in self.finished and not lost

    def run(self, cell: Cell, show: Callback) -> None:
        """Train and evaluate a cell, and write down what came out."""
        backbone, method, seed = cell
        settings = self.all_settings(backbone, method)
        data = self.data(backbone)
        names = modalities(data)

        torch.manual_seed(seed)
        model = MODELS[backbone].from_data(data, **settings['model'])
        kind, _ = split_method(method)
        balance, keep, callbacks = None, full(names), [show]
        if kind == 'base':
            callbacks.append(WatchViews(*map(only, names)))
        elif kind == 'ckd':
            balance = ckd_of(settings['ckd'], self.teachers(cell))
        else:
            keep = only(method.removeprefix('teacher(').removesuffix(')'))
        task = Recommendation(
            model,
            data,
            BPR(**settings['objective']) if settings['objective'] else None,
            balance,
            keep=keep,
            **settings['train'],
        )

        start = time.perf_counter()
        fit(
            task,
            progress=False,
            accelerator=self.args.device,
            callbacks=callbacks,
            **settings['fit'],
        )
        seconds = time.perf_counter() - start
        if kind == 'teacher':
            teacher = Teacher.from_model(model, data, keep)
            teacher.save(self.teacher_path(backbone, method, seed))

        self.save(cell, model, keep, task.history, seconds)

    def save(
        self,
        cell: Cell,
        model: nn.Module,
        keep: Keep,
        history: list[dict[str, float]],
        seconds: float,
    ) -> None:
        """Evaluate the model of a cell, and write down what came out."""
        backbone, method, seed = cell
        data = self.data(backbone)
        keeps = [keep] if method.startswith('teacher') else None
        rankings = rank_views(model, data, 'test', k=20, keeps=keeps)
        trained = rankings[view_name(keep, modalities(data))]
        result = Result(
            self.args.dataset,
            backbone,
            method,
            seed,
            self.all_settings(backbone, method),
            test={view: means(each) for view, each in rankings.items()},
            val=evaluate(model, data, 'val', view=keep),
            history=history,
            epochs=round(history[-1]['epoch']) if history else 0,
            seconds=round(seconds, 1),
            users=per_user(trained, metrics=('recall', 'ndcg')),
            hits=hits(trained),
        )
        save_result(result, self.folder)
        self.finished[result.key] = result

    def teachers(self, cell: Cell) -> dict[Keep, Teacher]:
        """Return the teachers of a cell, which were trained before."""
        backbone, _, seed = cell
        return {
            only(m): Teacher.load(
                self.teacher_path(backbone, f'teacher({m})', seed)
            )
            for m in modalities(self.data(None))
        }

    def teacher_path(self, backbone: str, method: str, seed: int) -> Path:
        """Return where a teacher is kept, a file for each of its settings."""
        folder = self.folder / 'teachers'
        folder.mkdir(exist_ok=True)
        key = self.key((backbone, method, seed))
        digest = hashlib.sha256(key.encode()).hexdigest()[:8]
        return folder / f'{backbone}-{method}-{seed}-{digest}.pt'

    def about(self) -> list[str]:
        """Return how the results came about, for the report."""
        data = self.data(None)
        rates = data['user', 'rates', 'item']
        sizes = [
            edges.size(1)
            for edges in (
                rates.edge_index,
                rates.val_edge_label_index,
                rates.test_edge_label_index,
            )
        ]
        features = ', '.join(
            f'{m} {data["item"][f"x_{m}"].size(1)}-d' for m in modalities(data)
        )
        lines = [
            f'Data: {self.args.dataset}, {data["user"].num_nodes:,} users, '
            f'{data["item"].num_nodes:,} items, {sizes[0]:,} training, '
            f'{sizes[1]:,} validation and {sizes[2]:,} test interactions; '
            f'{features} (fingerprint {self._fingerprint()}).',
            'Protocol: all items are ranked, those of training left out; the '
            'weights with the best validation Recall@20 are tested once.',
            f'Made with pyg_ckd {__version__}, torch {torch.__version__}, '
            f'Python {platform.python_version()} on {platform.machine()}, '
            f'device {self.args.device}, {torch.get_num_threads()} threads.',
        ]
        return [*lines, self.args.note] if self.args.note else lines


def split_method(method: str) -> tuple[str, str]:
    """Return the kind of a method and its variant, ``'ckd[gate]'`` as two."""
    kind, _, variant = method.partition('[')
    return kind.partition('(')[0], variant.rstrip(']')


def changed(
    settings: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return settings with some changed, those of parts one by one.

    Example:
        >>> changed({'a': {'b': 1, 'c': 2}}, {'a': {'b': 3}})
        {'a': {'b': 3, 'c': 2}}
    """
    result = dict(settings)
    for name, value in changes.items():
        if isinstance(value, Mapping):
            value = changed(result.get(name, {}), value)
        result[name] = value
    return result


def ckd_of(
    settings: Mapping[str, Any], teachers: Mapping[Keep, Teacher]
) -> CKD:
    """Return CKD of settings that hold the arguments of each of its parts."""
    arguments = dict(settings)
    for name, part in PARTS.items():
        if arguments.get(name) is not None:
            arguments[name] = part(**arguments[name])
    return CKD(teachers, **arguments)


class ShowEpochs(Callback):
    """Shows epochs and validation in the progress display."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress = progress
        self.task = task

    def on_train_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        logged = trainer.callback_metrics
        note = f'epoch {trainer.current_epoch + 1}'
        if 'val_recall@20' in logged:
            note += f', validation Recall@20 {logged["val_recall@20"]:.4f}'
        self.progress.update(self.task, advance=1, note=note)


def terminal_table(rows: list[dict[str, str]], title: str) -> Table:
    """Return the columns of most interest, narrow enough for a terminal."""
    table = Table(
        title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
    )
    for name in ('backbone', 'method', 'recall@20'):
        table.add_column(name, no_wrap=True)
    table.add_column('against base')
    previous = ''
    for row in rows:
        if previous not in ('', row['backbone']):
            table.add_section()
        name = '' if row['backbone'] == previous else row['backbone']
        change = row['recall@20 against base'].replace(' (', '\n(')
        # As `Text`, so that brackets are no markup:
        cells = (name, row['method'], row['recall@20'], change)
        table.add_row(*map(Text, cells))
        previous = row['backbone']
    return table


if __name__ == '__main__':
    main()
