"""Measures what training and evaluation cost, as ratios within one run.

    python benchmarks/speed.py
    python benchmarks/speed.py --dataset baby --root data --only step evaluation
    python benchmarks/speed.py --out benchmarks/results/speed.json
    python benchmarks/speed.py --against benchmarks/results/speed.json

Each figure compares two ways of doing the same, taken in turn, so that it
holds on a busy machine: the median of the ratios pair by pair, and the
quartiles between which half of them lie. The yardsticks are written here, for
the purpose. Without `--dataset` the data is random, of the size of Amazon Baby.

`--out` writes JSON, in which studies that are not measured now stay as they
are; `speed_page.py` makes the page of it. `--against` compares with such a
file, and fails if a ratio is worse: if the better of its quartiles is worse
than the worse one of the file by more than a tenth. Milliseconds and gigabytes,
which another machine has others of, are not compared. `make speed` does that.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.profiler import profile
from torch_geometric.data import HeteroData

from pyg_ckd.balance import CKD, SoftCrossEntropy, Teacher
from pyg_ckd.datasets import MMRecFolder
from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.graph import modalities
from pyg_ckd.kernels import memory_reused
from pyg_ckd.kernels.best_items import best_items
from pyg_ckd.kernels.sparse import row_starts
from pyg_ckd.nn import (
    BPRMF,
    FREEDOM,
    GRCN,
    LATTICE,
    MGCN,
    MICRO,
    MMGCN,
    SMORE,
    STAIR,
    VBPR,
    Backbone,
    EgoGCN,
    LGMRec,
    LightGCN,
    Recommender,
)
from pyg_ckd.ranking import evaluate
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.transforms import nearest_neighbors
from pyg_ckd.triplet_loader import TripletLoader
from pyg_ckd.views import Keep, Views, full, only

# What a CKD step may cost, as a multiple of a plain one:
BACKBONES: dict[type[Backbone], float | None] = {
    VBPR: 1.5,
    LightGCN: 1.5,
    FREEDOM: 1.5,
    LATTICE: 1.8,
    MICRO: 1.8,
    MGCN: 1.8,
    MMGCN: 2.5,
    GRCN: 2.5,
    EgoGCN: 2.5,
    LGMRec: None,
    SMORE: None,
    STAIR: None,
}
#: How much worse a ratio may be, beyond the quartiles of both.
TOLERANCE = 1.1
REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class Figure:
    """What was measured: a median, its quartiles, and what is aimed at.

    Args:
        what: What it is.
        value: The median.
        low: The lower quartile.
        high: The upper quartile.
        runs: How many measurements it is the median of.
        better: What is better, '<=' for lower or '>=' for higher.
        target: The target, if there is one.
        unit: The unit, of what is no ratio.
    """

    what: str
    value: float
    low: float
    high: float
    runs: int
    better: str
    target: float | None = None
    unit: str = ''

    @classmethod
    def of(
        cls,
        what: str,
        values: Sequence[float],
        better: str,
        target: float | None = None,
        unit: str = '',
    ) -> Figure:
        """Return the figure of measurements."""
        low = high = values[0]
        if len(values) > 1:
            low, _, high = statistics.quantiles(values, method='inclusive')
        middle = statistics.median(values)
        return cls(what, middle, low, high, len(values), better, target, unit)

    def verdict(self) -> str:
        """Return whether the target is met, if there is one."""
        if self.target is None:
            return ''
        if self.better == '<=':
            return 'met' if self.value <= self.target else 'MISSED'
        return 'met' if self.value >= self.target else 'MISSED'

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return a row: figure, measured, spread, target, verdict."""
        unit = f' {self.unit}' if self.unit else ''
        spread = f'{number(self.low)} to {number(self.high)}'
        target = '' if self.target is None else f'{self.better} {self.target:g}'
        return (
            self.what,
            number(self.value) + unit,
            spread if self.runs > 1 else '',
            target + unit if target else '',
            self.verdict(),
        )

    def worse_than(self, other: Figure) -> float:
        """Return by which factor this is worse, beyond the spread of both."""
        if self.better == '<=':
            larger, smaller = self.low, other.high
        else:
            larger, smaller = other.low, self.high
        if smaller:
            return larger / smaller
        return math.inf if larger else 1.0


def allocation_of(study: str) -> AbstractContextManager[None]:
    """Return what `fit` trains in, for studies of training steps."""
    return memory_reused() if study in ('step', 'loop') else nullcontext()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description='Measure costs as ratios.')
    parser.add_argument('--dataset', help='a folder below --root')
    parser.add_argument('--root', default='datasets', type=Path)
    parser.add_argument(
        '--only', nargs='+', default=list(STUDIES), choices=STUDIES
    )
    parser.add_argument('--out', type=Path, help='JSON to write')
    parser.add_argument('--against', type=Path, help='JSON to compare with')
    parser.add_argument('--memory-of', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.memory_of:
        return train_and_print_memory(*args.memory_of)

    known = environment(args.dataset)
    before = read(args.against) if args.against else {}
    refuse_another(before, known, args.only)
    report = read(args.out) if args.out and args.out.exists() else {}
    data = load(args)
    console = Console()
    table = Table('what', 'measured', 'half of all', 'target', '')
    lines = []
    for name in args.only:
        with console.status(f'measuring: {name}'), allocation_of(name):
            figures = STUDIES[name](data)
        for figure in figures:
            table.add_row(*figure.cells())
        report[name] = {
            'environment': known,
            'figures': [asdict(figure) for figure in figures],
        }
        if args.out:
            with open_atomic(args.out) as file:
                file.write(f'{json.dumps(report, indent=1)}\n'.encode())
        if args.against:
            lines += regressions(figures, figures_of(before.get(name, {})))
    console.print(table)
    console.print(known)
    if lines:
        raise SystemExit('\n'.join(['Slower than before:', *lines]))


def environment(dataset: str | None) -> dict[str, Any]:
    """Return what figures depend on, beside the code."""
    return {
        'date': str(date.today()),
        'data': dataset or 'random, of the size of Amazon Baby',
        'torch': torch.__version__,
        'python': platform.python_version(),
        'threads': torch.get_num_threads(),
        'cores': os.cpu_count(),
        'load': round(os.getloadavg()[0], 1),
    }


def read(path: Path) -> dict[str, Any]:
    """Return the studies of a file that `--out` has written."""
    try:
        report: dict[str, Any] = json.loads(path.read_text('utf-8'))
        for study in report.values():
            figures_of(study)
            _ = study['environment']['data'], study['environment']['threads']
    except (OSError, ValueError) as error:
        raise SystemExit(f"'{path}' cannot be read: {error}") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise SystemExit(
            f"'{path}' is no output of 'speed.py --out': {error!r}"
        ) from error
    return report


def figures_of(study: dict[str, Any]) -> list[Figure]:
    return [Figure(**figure) for figure in study.get('figures', [])]


def refuse_another(
    before: dict[str, Any], known: dict[str, Any], names: Sequence[str]
) -> None:
    """Refuse a comparison with what was measured in another way."""
    for name in names:
        old = before.get(name, {}).get('environment', known)
        for key in ('data', 'threads'):
            if old[key] != known[key]:
                raise SystemExit(
                    f"'{name}' was measured with {key} {old[key]!r}, and this "
                    f'is {known[key]!r}: set OMP_NUM_THREADS and --dataset to '
                    'what they were'
                )


def regressions(now: list[Figure], before: list[Figure]) -> list[str]:
    """Return a line for each ratio that is worse than it was, or not known."""
    old = {figure.what: figure for figure in before}
    lines = [
        f'- {figure.what}: not in the file; measure it with --out'
        for figure in now
        if figure.what not in old
    ]
    for figure in now:
        if figure.what not in old or figure.unit:
            continue
        factor = figure.worse_than(old[figure.what])
        if factor > TOLERANCE:
            _, was, spread, *_ = old[figure.what].cells()
            _, value, new_spread, *_ = figure.cells()
            lines.append(
                f'- {figure.what}: {value} ({new_spread}), it was {was} '
                f'({spread}): worse by {factor - 1:.0%} beyond the spread, '
                f'{TOLERANCE - 1:.0%} are allowed'
            )
    return lines


def number(value: float) -> str:
    return f'{value:.2f}' if value < 100 else f'{value:.0f}'


def load(args: argparse.Namespace) -> HeteroData:
    """Return the data set, or random data of the size of Amazon Baby."""
    if args.dataset:
        return MMRecFolder(
            args.root,
            args.dataset,
            processed_root=REPOSITORY / 'results' / 'data',
        )[0]
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 19_445, 7_050
    for name in ('image', 'text'):
        data['item'][f'x_{name}'] = torch.randn(7_050, 128, generator=generator)
    popularity = torch.rand(7_050, generator=generator).pow(-0.7)
    key = torch.arange(19_445).repeat_interleave(8) * 7_050
    key = (
        key + popularity.multinomial(len(key), True, generator=generator)
    ).unique()
    key = key[torch.randperm(len(key), generator=generator)][:139_110]
    pairs = torch.stack([key // 7_050, key % 7_050])
    rates = data['user', 'rates', 'item']
    rates.val_edge_label_index = pairs[:, :10_279]
    rates.test_edge_label_index = pairs[:, 10_279:20_559]
    rates.edge_index = pairs[:, 20_559:]
    return data


# Studies #####################################################################


def measure_step(data: HeteroData) -> list[Figure]:
    """A step of CKD against a plain one: ours, the authors' sample, naive."""
    figures = []
    for backbone, target in BACKBONES.items():
        name = backbone.__name__
        base = task(backbone, prepared(backbone, data))
        plain, ckd = stepper(base), stepper(distilled(base))
        naive = stepper(distilled(base, naive=True))
        pairs = [
            (f'{name}: CKD step / plain step', ckd, plain, '<=', target),
            (f'{name}: CKD of three forwards / CKD', naive, ckd, '>=', None),
        ]
        if backbone is VBPR:
            exact = SoftCrossEntropy(num_pairs=5000, group_size=1)
            published = stepper(distilled(base, on_random=exact))
            what = f'{name}: CKD step, 5,000 x 1 triples / plain step'
            pairs.insert(1, (what, published, plain, '<=', None))
        figures += [
            Figure.of(what, ratios(first, second, runs=15), better, bound)
            for what, first, second, better, bound in pairs
        ]
        what = f'{name}: share of products, look-ups and Adam'
        shares = profiled_shares(ckd)
        figures.append(Figure.of(what, shares, '>=', 0.8))
    return figures


def measure_gradients(data: HeteroData) -> list[Figure]:
    """A step whose gradients are as large as tables, and one by rows."""
    ours = stepper(task(BPRMF, data))
    dense, rows = by_hand(data, sparse=False), by_hand(data, sparse=True)
    return [
        Figure.of(
            'BPRMF: a dense step by hand / ours',
            ratios(dense, ours, runs=31),
            '>=',
        ),
        Figure.of(
            'BPRMF: ours / a step that updates the rows of the batch',
            ratios(ours, rows, runs=31),
            '<=',
        ),
    ]


def measure_evaluation(data: HeteroData) -> list[Figure]:
    """Full ranking against a loop over 300 users, and one of many items."""
    model = VBPR.from_data(data)
    rates = data['user', 'rates', 'item']
    users = rates.val_edge_label_index[0]
    num_users = users.unique().numel()
    few = users.unique()[:300].tolist()
    known = lists(rates.edge_index, few)
    wanted = lists(rates.val_edge_label_index, few)
    with torch.no_grad():
        user_emb, item_emb = (x.double().numpy() for x in model(data))

    def loop() -> None:
        for user in few:
            score = item_emb @ user_emb[user]
            rated = {i: score[i] for i in set(range(len(score))) - known[user]}
            top = sorted(rated, key=rated.__getitem__, reverse=True)[:20]
            hits = [item in wanted[user] for item in top]
            _ = sum(hits) / len(wanted[user]), sum(hits) / 20

    metrics = ('recall', 'precision', 'ndcg', 'map', 'mrr')
    ours = functools.partial(
        evaluate, model, data, 'val', ks=(20,), metrics=metrics
    )
    more = num_users / len(few)
    values = [more * ratio for ratio in ratios(loop, ours, runs=9)]
    return [
        Figure.of('evaluation: loop over users / ours', values, '>=', 25),
        Figure.of(
            'evaluation, 63,000 items: all scores at once / ours',
            ratios(*rankings_of_many_items(), runs=9),
            '>=',
        ),
    ]


def measure_sampler(data: HeteroData) -> list[Figure]:
    """An epoch of triples against a sampler that goes user by user."""
    loader = TripletLoader(data)
    edge_index = data['user', 'rates', 'item'].edge_index
    num_train = edge_index.size(1)
    users = edge_index[0].unique().tolist()
    known = lists(edge_index, users)
    items = {user: list(own) for user, own in known.items()}
    num_items = data['item'].num_nodes

    def loop() -> None:
        for user in random.choices(users, k=2048):
            own = items[user]
            _ = own[np.random.randint(len(own))]
            while np.random.randint(num_items) in own:
                pass

    batches = num_train / 2048
    values = [
        batches * ratio for ratio in ratios(loop, lambda: list(loader), runs=15)
    ]
    wrong = sum(
        int(n) in known[int(u)]
        for users, _, negs in loader
        for u, n in zip(users, negs, strict=True)
    )
    times = [1000 * clock(lambda: list(loader)) for _ in range(15)]
    return [
        Figure.of('sampler: loop over users / ours', values, '>=', 50),
        Figure.of('sampler: an epoch', times, '<=', 50, 'ms'),
        Figure.of('sampler: false negatives in an epoch', [wrong], '<=', 0),
    ]


def measure_knn(data: HeteroData) -> list[Figure]:
    """The item graph of 4,096 features against its matrix products alone."""
    x = torch.randn(3_525, 4_096)

    def products() -> None:
        for block in x.split(512):
            _ = block @ x.t()

    values = ratios(lambda: nearest_neighbors(x, 10), products, runs=5)
    return [Figure.of('item graph / its matrix products', values, '<=', 1.5)]


def measure_caches(data: HeteroData) -> list[Figure]:
    """A sparse product of as many edges, over tables of three sizes."""
    num_users, num_edges = 200_000, 1_900_000
    user = torch.randint(num_users, (num_edges,)).sort().values
    start = row_starts(torch.bincount(user, minlength=num_users))

    def product(num_items: int) -> Callable[[], None]:
        item = torch.randint(num_items, (num_edges,))
        matrix = torch.sparse_csr_tensor(
            start,
            item,
            torch.ones(num_edges),
            (num_users, num_items),
            check_invariants=False,
        )
        x = torch.randn(num_items, 64)

        def multiply() -> None:
            _ = matrix @ x

        return multiply

    small = product(3_600)
    return [
        Figure.of(
            f'an edge of a product, table of {size} / of 0.9 MB',
            ratios(product(num_items), small, runs=9),
            '<=',
        )
        for num_items, size in ((36_000, '9 MB'), (360_000, '92 MB'))
    ]


def measure_loop(data: HeteroData) -> list[Figure]:
    """Lightning's loop against a bare loop of the same steps."""
    base = task(VBPR, data)

    def bare() -> None:
        optimizer = base.configure_optimizers()
        for _ in range(10):
            for batch in base.train_dataloader():
                optimizer.zero_grad()
                base.training_step(batch).backward()
                optimizer.step()
        evaluate(base.model, data, 'val', ks=(20,), metrics=('recall', 'ndcg'))

    def lightning() -> None:
        base.history.clear()
        fit(base, max_epochs=10, eval_every=10, progress=False)

    values = ratios(lightning, bare, runs=5)
    return [Figure.of("Lightning's loop / bare loop", values, '<=', 1.1)]


def measure_memory(data: HeteroData) -> list[Figure]:
    """Peak memory of whole training processes, in GB."""
    peak: dict[str, list[float]] = {'base': [], 'ckd': []}
    with TemporaryDirectory() as folder:
        path = f'{folder}/data.pt'
        torch.save(data.to_dict(), path)
        for _ in range(3):
            for method, found in peak.items():
                done = subprocess.run(
                    [sys.executable, __file__, '--memory-of', method, path],
                    stdout=subprocess.PIPE,
                    check=True,
                )
                found.append(float(done.stdout.split()[-1]))
    more = [c / b for c, b in zip(peak['ckd'], peak['base'], strict=True)]
    return [
        Figure.of('memory to train FREEDOM', peak['base'], '<=', 1.5, 'GB'),
        Figure.of('memory to train it with CKD', peak['ckd'], '<=', 1.5, 'GB'),
        Figure.of('memory of FREEDOM: CKD / plain', more, '<=', 1.3),
    ]


STUDIES: dict[str, Callable[[HeteroData], list[Figure]]] = {
    'step': measure_step,
    'gradients': measure_gradients,
    'evaluation': measure_evaluation,
    'sampler': measure_sampler,
    'knn': measure_knn,
    'caches': measure_caches,
    'loop': measure_loop,
    'memory': measure_memory,
}

# Pieces ######################################################################


def prepared(backbone: type[Recommender], data: HeteroData) -> HeteroData:
    """Return the data with the graphs that a backbone needs."""
    transform = backbone.pre_transform
    return transform(data) if transform else data


def task(backbone: type[Backbone], data: HeteroData) -> Recommendation:
    torch.manual_seed(0)
    model = backbone.from_data(data)
    model.start_epoch(data, full(modalities(data)))
    return Recommendation(model, data)


def distilled(
    base: Recommendation, naive: bool = False, **kwargs: Any
) -> Recommendation:
    """Return the same training with CKD."""
    model = base.recommender
    teachers = {
        only(m): Teacher.from_model(model, base.data, only(m))
        for m in modalities(base.data)
    }
    if naive:
        model = Naive(model)
    balance = CKD(teachers, **kwargs)
    training = Recommendation(model, base.data, base.objective, balance)
    if training.balance is not None:
        training.balance.begin(base.data)
    return training


class Naive(Recommender):
    """A model whose views are computed one by one, each for all items."""

    def __init__(self, model: Recommender) -> None:
        nn.Module.__init__(self)
        self.model = model

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        return self.model(data)

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        parts = [self.model.views(data, [keep]) for keep in keeps]
        user, item = zip(*(part.embedding() for part in parts), strict=True)
        return Views(user, item, torch.eye(len(keeps)), parts[0].aux)

    def regularization(self, *args: Any) -> Tensor | float:
        return self.model.regularization(*args)


def stepper(training: Recommendation) -> Callable[[], None]:
    """Return a function that makes one step of training."""
    training.train()
    optimizer = training.configure_optimizers()
    batches = itertools.cycle(list(training.train_dataloader()))

    def step() -> None:
        optimizer.zero_grad()
        training.training_step(next(batches)).backward()
        optimizer.step()

    return step


def by_hand(data: HeteroData, sparse: bool) -> Callable[[], None]:
    """Return a step of BPR as a tutorial has it, for `BPRMF` to be beside."""
    kinds = ('user', 'item')
    user, item = (
        nn.Embedding(data[kind].num_nodes, 64, sparse=sparse) for kind in kinds
    )
    parameters = [user.weight, item.weight]
    adam = torch.optim.SparseAdam if sparse else torch.optim.Adam
    optimizer: torch.optim.Optimizer = adam(parameters, lr=1e-3)
    batches = itertools.cycle(list(TripletLoader(data)))

    def step() -> None:
        users, pos, neg = next(batches)
        optimizer.zero_grad()
        margin = (user(users) * (item(pos) - item(neg))).sum(1)
        (-nn.functional.logsigmoid(margin).mean()).backward()
        optimizer.step()

    return step


def ratios(
    first: Callable[[], object], second: Callable[[], object], runs: int
) -> list[float]:
    """Return the ratios of two times, taken in turn."""
    first(), second()
    return [clock(first) / clock(second) for _ in range(runs)]


def clock(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def profiled_shares(step: Callable[[], None], runs: int = 5) -> list[float]:
    """Return the share of steps in arithmetic that no one can leave out."""
    useful = ('mm', 'adam', 'embedding', 'index_select', 'SpMM')
    shares = []
    for _ in range(runs):
        with profile() as measured:
            step()
            step()
        times = {
            event.key: event.self_cpu_time_total
            for event in measured.key_averages()
        }
        total = sum(times.values())
        needed = [
            time
            for key, time in times.items()
            if any(name in key for name in useful)
        ]
        shares.append(sum(needed) / total)
    return shares


def rankings_of_many_items() -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a ranking by one matrix of scores, and ours of the same."""
    user, item = torch.randn(512, 64), torch.randn(63_000, 64)
    everyone = torch.arange(len(user))
    none = torch.empty(0, dtype=torch.long)

    def at_once() -> None:
        (user @ item.t()).topk(20)

    def ours() -> None:
        best_items(user, item, everyone, 20, none)

    return at_once, ours


def lists(pairs: Tensor, users: list[int]) -> dict[int, set[int]]:
    """Return the items of each of some users."""
    items: dict[int, set[int]] = {user: set() for user in users}
    for user, item in pairs.t().tolist():
        if user in items:
            items[user].add(item)
    return items


def train_and_print_memory(method: str, path: str) -> None:
    data = HeteroData.from_dict(torch.load(path, weights_only=True))
    base = task(FREEDOM, prepared(FREEDOM, data))
    training = distilled(base) if method == 'ckd' else base
    fit(training, max_epochs=1, progress=False)
    # Linux's own record of this process alone, in KiB:
    status = Path('/proc/self/status').read_text()
    peak = status.split('VmHWM:')[1].split()[0]
    print(int(peak) * 1024 / 1e9)


if __name__ == '__main__':
    main()
