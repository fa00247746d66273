"""Measures what training and evaluation cost, as ratios within one run.

    python benchmarks/speed.py
    python benchmarks/speed.py --dataset baby --root data --only step evaluation

Each figure compares two ways of doing the same, taken in turn, so that it
holds on a busy machine: the median of the ratios pair by pair. The slow
yardsticks are written here, for the purpose. Without `--dataset` the data is
random, of the size of Amazon Baby.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
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
from pyg_ckd.graph import modalities
from pyg_ckd.nn import (
    FREEDOM,
    GRCN,
    LATTICE,
    MGCN,
    MICRO,
    MMGCN,
    SMORE,
    STAIR,
    VBPR,
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
BACKBONES: dict[type[Recommender], str] = {
    VBPR: '<= 1.5',
    LightGCN: '<= 1.5',
    FREEDOM: '<= 1.5',
    LATTICE: '<= 1.8',
    MICRO: '<= 1.8',
    MGCN: '<= 1.8',
    MMGCN: '<= 2.5',
    GRCN: '<= 2.5',
    EgoGCN: '<= 2.5',
    LGMRec: '',
    SMORE: '',
    STAIR: '',
}
REPOSITORY = Path(__file__).resolve().parents[1]
Row = tuple[str, str, str, str]  # what, measured, target, verdict


def main() -> None:
    parser = argparse.ArgumentParser(description='Measure costs as ratios.')
    parser.add_argument('--dataset', help='a folder below --root')
    parser.add_argument('--root', default='datasets', type=Path)
    parser.add_argument(
        '--only', nargs='+', default=list(STUDIES), choices=STUDIES
    )
    parser.add_argument('--memory-of', help=argparse.SUPPRESS)
    args = parser.parse_args()
    data = load(args)
    if args.memory_of:
        return train_and_print_memory(data, args.memory_of)

    console = Console()
    table = Table('what', 'measured', 'target', '', title='Speed')
    for name in args.only:
        with console.status(f'measuring: {name}'):
            rows = STUDIES[name](data)
        for row in rows:
            table.add_row(*row)
    console.print(table)
    console.print(
        f'torch {torch.__version__}, {torch.get_num_threads()} threads'
    )


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


def measure_step(data: HeteroData) -> list[Row]:
    """A step of CKD against a plain one: ours, the authors' sample, naive."""
    rows = []
    for backbone, target in BACKBONES.items():
        own = prepared(backbone, data)
        base = task(backbone, own)
        plain = stepper(base)
        names = {
            'CKD step / plain step': (distilled(base), target),
            '... with three full forwards': (distilled(base, naive=True), ''),
        }
        if backbone is VBPR:
            groups = SoftCrossEntropy(num_pairs=256, group_size=32)
            names['... in groups (num_pairs=256, group_size=32)'] = (
                distilled(base, on_random=groups),
                target,
            )
        for name, (student, target) in names.items():
            ratio = compare(stepper(student), plain, runs=15)
            rows.append(verdict(f'{backbone.__name__}: {name}', ratio, target))
        share = profiled_share(distilled(base))
        rows.append(
            verdict(
                f'{backbone.__name__}: share of products, look-ups and Adam',
                share,
                '>= 0.8',
            )
        )
    return rows


def measure_evaluation(data: HeteroData) -> list[Row]:
    """Full ranking of all users against a loop over 300 of them."""
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
    ratio = compare(loop, ours, runs=5) * num_users / len(few)
    return [verdict('evaluation: loop over users / ours', ratio, '>= 25')]


def measure_sampler(data: HeteroData) -> list[Row]:
    """An epoch of triples against a sampler that goes user by user."""
    loader = TripletLoader(data)
    edge_index = data['user', 'rates', 'item'].edge_index
    num_train = edge_index.size(1)
    users = edge_index[0].unique().tolist()
    known = lists(edge_index, users)
    items = {user: list(own) for user, own in known.items()}
    num_items = data['item'].num_nodes

    def loop() -> None:
        for user in random.sample(users, 2048):
            own = items[user]
            _ = own[np.random.randint(len(own))]
            while np.random.randint(num_items) in own:
                pass

    batches = num_train / 2048
    ratio = compare(loop, lambda: list(loader), runs=15) * batches
    wrong = sum(
        int(n) in known[int(u)]
        for users, _, negs in loader
        for u, n in zip(users, negs, strict=True)
    )
    seconds = min(clock(lambda: list(loader)) for _ in range(7))
    return [
        verdict('sampler: loop over triples / ours', ratio, '>= 50'),
        verdict('sampler: milliseconds an epoch', 1000 * seconds, '<= 50'),
        verdict('sampler: false negatives in an epoch', wrong, '<= 0'),
    ]


def measure_knn(data: HeteroData) -> list[Row]:
    """The item graph of 4,096 features against its matrix products alone."""
    x = torch.randn(7_050, 4_096)

    def products() -> None:
        for block in x.split(512):
            _ = block @ x.t()

    ratio = compare(lambda: nearest_neighbors(x, 10), products, runs=3)
    return [verdict('item graph / its matrix products', ratio, '<= 1.5')]


def measure_loop(data: HeteroData) -> list[Row]:
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

    ratio = compare(lightning, bare, runs=3)
    return [verdict("Lightning's loop / bare loop", ratio, '<= 1.1')]


def measure_memory(data: HeteroData) -> list[Row]:
    """Peak memory of whole training processes, in GB."""
    peak = {}
    for method in ('base', 'ckd'):
        command = [sys.executable, __file__, '--memory-of', method]
        command += [arg for arg in sys.argv[1:] if arg != '--only']
        known = {*STUDIES}
        command = [part for part in command if part not in known]
        out = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout
        peak[method] = float(out.split()[-1])
    return [
        verdict('memory: GB to train FREEDOM', peak['base'], '<= 1.5'),
        verdict('memory: GB to train it with CKD', peak['ckd'], '<= 1.5'),
        verdict('memory: CKD / plain', peak['ckd'] / peak['base'], '<= 1.3'),
    ]


STUDIES: dict[str, Callable[[HeteroData], list[Row]]] = {
    'step': measure_step,
    'evaluation': measure_evaluation,
    'sampler': measure_sampler,
    'knn': measure_knn,
    'loop': measure_loop,
    'memory': measure_memory,
}

# Pieces ######################################################################


def prepared(backbone: type[Recommender], data: HeteroData) -> HeteroData:
    """Return the data with the graphs that a backbone needs."""
    transform = backbone.pre_transform
    return transform(data) if transform else data


def task(backbone: type[Recommender], data: HeteroData) -> Recommendation:
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
    training = Recommendation(model, base.data, balance=CKD(teachers, **kwargs))
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
    batches = iter(list(training.train_dataloader()) * 10)

    def step() -> None:
        optimizer.zero_grad()
        training.training_step(next(batches)).backward()
        optimizer.step()

    return step


def compare(
    first: Callable[[], object], second: Callable[[], object], runs: int
) -> float:
    """Return the median of the ratios of two times, taken in turn."""
    first(), second()
    return statistics.median(clock(first) / clock(second) for _ in range(runs))


def clock(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def profiled_share(training: Recommendation) -> float:
    """Return the share of a step in arithmetic that no one can leave out."""
    useful = ('mm', 'adam', 'embedding', 'index_select', 'SpMM')
    step = stepper(training)
    step()
    with profile() as measured:
        for _ in range(10):
            step()
    events = measured.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    return (
        sum(
            event.self_cpu_time_total
            for event in events
            if any(name in event.key for name in useful)
        )
        / total
    )


def lists(pairs: Tensor, users: list[int]) -> dict[int, set[int]]:
    """Return the items of each of some users."""
    items: dict[int, set[int]] = {user: set() for user in users}
    for user, item in pairs.t().tolist():
        if user in items:
            items[user].add(item)
    return items


def train_and_print_memory(data: HeteroData, method: str) -> None:
    base = task(FREEDOM, prepared(FREEDOM, data))
    training = distilled(base) if method == 'ckd' else base
    fit(training, max_epochs=1, progress=False)
    # Linux's own record of this process alone, in KiB:
    status = Path('/proc/self/status').read_text()
    peak = status.split('VmHWM:')[1].split()[0]
    print(int(peak) * 1024 / 1e9)


def verdict(what: str, value: float, target: str) -> Row:
    """Return a row of the table, with whether the target is met."""
    text = f'{value:.2f}' if value < 100 else f'{value:.0f}'
    if not target:
        return what, text, '', ''
    sign, bound = target.split()
    met = value <= float(bound) if sign == '<=' else value >= float(bound)
    return what, text, target, 'met' if met else 'MISSED'


if __name__ == '__main__':
    main()
