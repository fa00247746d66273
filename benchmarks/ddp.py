"""Compares two processes of one thread with one process of one thread.

    python benchmarks/ddp.py
    python benchmarks/ddp.py --backbone VBPR --batch-size 8192
    python benchmarks/ddp.py --tables 2000000 --batch-size 16384

Both take the same step: one process a batch, or two processes half of it each
and the mean of their gradients. They take turns, and the ratios are those of
neighbours. On a busy machine two processes wait for each other and for a core.
The ratio by processor time, of one to the slower of two, changes little with
that: it is what free cores and a network without delay would bring at most. The
data is random, of the size of Amazon Baby. Then it measures what
`docs/cluster.md` computes with: what a triple and a parameter cost.

With `--tables` it trains a VBPR of IDs with so many users by one process, by
two with whole tables and by two with half of the rows each, and says what a
process holds, what it sends in a step, and how long that takes.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table
from speed import load, prepared
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch_geometric.data import HeteroData

from pyg_ckd.balance import CKD, Teacher
from pyg_ckd.graph import RATES, modalities
from pyg_ckd.kernels import Ranks
from pyg_ckd.kernels.ranks import ALONE
from pyg_ckd.nn import FREEDOM, VBPR, Backbone, LightGCN, as_recommender
from pyg_ckd.nn.sharded import Sharded
from pyg_ckd.objectives import Batch
from pyg_ckd.ranking._evaluate import evaluate_among
from pyg_ckd.train import Recommendation, compute_losses
from pyg_ckd.train.processes import ddp_arguments
from pyg_ckd.triplet_loader import TripletLoader
from pyg_ckd.views import full, only

#: As large as Amazon Baby.
RANDOM = argparse.Namespace(dataset=None)
BACKBONES: dict[str, type[Backbone]] = {
    'VBPR': VBPR,
    'LightGCN': LightGCN,
    'FREEDOM': FREEDOM,
}
#: How many processes hold tables, and how.
KINDS = {'one, whole': 1, 'two, whole': 2, 'two, by rows': 2}
TORCHRUN = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']


def main() -> None:
    parser = argparse.ArgumentParser(description='Two processes, or one?')
    add = parser.add_argument
    add('--backbone', nargs='+', default=list(BACKBONES), choices=BACKBONES)
    add('--batch-size', default=4096, type=int, help='that of both together')
    add('--pairs', default=15, type=int, help='how often each is measured')
    add('--tables', type=int, metavar='USERS', help='measure tables instead')
    add('--kind', choices=KINDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.tables is not None:
        if args.kind is None:
            compare_tables()
        else:
            measure_table(args)
        return
    if 'RANK' not in os.environ:
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        command = [sys.executable, *TORCHRUN, *sys.argv]
        sys.exit(subprocess.run(command, env=environment).returncode)

    torch.set_num_threads(1)
    dist.init_process_group('gloo')
    ranks = Ranks(dist.get_rank(), dist.get_world_size())
    data = prepared(FREEDOM, load(RANDOM))
    table = Table(
        'what', 'one, ms', 'two, ms', 'speed-up', 'by CPU', 'sent, MB'
    )
    for name in args.backbone:
        for taught in (False, True):
            table.add_row(*measure(name, data, taught, ranks, args))
    table.add_row(*measure_evaluation(data, ranks, args.pairs))
    if ranks.rank == 0:
        console = Console(width=100)
        console.print(table)
        for line in costs():
            console.print(line)
    dist.barrier()
    dist.destroy_process_group()


class Loss(nn.Module):
    """What a step minimises, as a module that gradients are averaged of."""

    def __init__(self, task: Recommendation, ranks: Ranks) -> None:
        super().__init__()
        self.task = task
        task.ranks = ranks

    def forward(self, batch: Batch) -> Tensor:
        return self.task.training_step(batch)


def measure(
    name: str,
    data: HeteroData,
    taught: bool,
    ranks: Ranks,
    args: argparse.Namespace,
) -> list[str]:
    """Return a row: what a step costs in one process and in two."""
    torch.manual_seed(0)
    alone = StepOf(name, data, taught, ALONE, args.batch_size)
    together = StepOf(name, data, taught, ranks, args.batch_size // 2)
    times = compared(alone, together, ranks, args.pairs)
    sent = sum(p.numel() * p.element_size() for p in alone.parameters) / 1e6
    return [f'{name} + CKD' if taught else name, *times, f'{sent:.1f}']


class StepOf:
    """Takes a step on a new batch whenever it is called."""

    def __init__(
        self,
        name: str,
        data: HeteroData,
        taught: bool,
        ranks: Ranks,
        batch_size: int,
    ) -> None:
        model = BACKBONES[name].from_data(data)
        balance = CKD(teachers_of(data)) if taught else None
        task = Recommendation(
            model, data, balance=balance, batch_size=batch_size
        )
        if task.balance is not None:
            task.balance.begin(data)
        model.start_epoch(data, full(modalities(data)))
        self.loader = TripletLoader(data, batch_size, ranks=ranks)
        self.batches = iter(self.loader)
        self.parameters = list(task.parameters())
        self.optimizer = task.configure_optimizers()
        self.loss: nn.Module = Loss(task, ranks)
        if ranks.size > 1:
            self.loss = averaged(self.loss)

    def __call__(self) -> None:
        batch = next(self.batches, None)
        if batch is None:
            self.batches = iter(self.loader)
            batch = next(self.batches)
        self.loss(batch).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def averaged(module: nn.Module) -> DistributedDataParallel:
    """Return a module whose gradients are the mean over processes."""
    arguments: dict[str, Any] = ddp_arguments()
    return DistributedDataParallel(module, **arguments)


def teachers_of(data: HeteroData) -> dict[frozenset[str], Teacher]:
    generator = torch.Generator().manual_seed(0)
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    return {
        only(m): Teacher.from_embeddings(
            torch.randn(num_users, 64, generator=generator),
            torch.randn(num_items, 64, generator=generator),
            data,
        )
        for m in modalities(data)
    }


def compared(
    alone: Callable[[], object],
    together: Callable[[], object],
    ranks: Ranks,
    pairs: int,
) -> list[str]:
    """Return the milliseconds of both, and the ratio of neighbours."""
    times = []
    for turn in range(pairs + 2):  # two to warm up
        dist.barrier()
        clocks = [now()]
        if ranks.rank == 0:
            alone()
        clocks.append(now())
        dist.barrier()
        clocks.append(now())
        together()
        clocks.append(now())
        dist.barrier()
        clocks.append(now())
        first, one, middle, two, end = clocks
        used = torch.stack([one - first, two - middle])[:, 1]
        dist.all_reduce(used, dist.ReduceOp.MAX)  # of the slower process
        wall = torch.stack([middle - first, end - middle])[:, 0]
        if turn > 1:
            times.append(torch.cat([wall, used]))
    of_wall, of_used = torch.stack(times).t().split(2)  # [2, pairs] each
    median = of_wall.median(dim=1).values
    return [
        *(f'{1e3 * x:.1f}' for x in median.tolist()),
        quartiles(of_wall[0] / of_wall[1]),
        quartiles(of_used[0] / of_used[1]),
    ]


def now() -> Tensor:
    """Return the time, and the processor time of this process."""
    clocks = [time.perf_counter(), time.process_time()]
    return torch.tensor(clocks, dtype=torch.double)


def quartiles(ratio: Tensor) -> str:
    """Return the median and where half of the ratios lie."""
    low, middle, high = statistics.quantiles(ratio.tolist(), n=4)
    return f'{middle:.2f} ({low:.2f} to {high:.2f})'


def measure_evaluation(data: HeteroData, ranks: Ranks, pairs: int) -> list[str]:
    """Return a row: what an evaluation costs in one process and in two."""
    torch.manual_seed(0)
    model = VBPR.from_data(data)
    keep = full(modalities(data))

    def evaluated(ranks: Ranks) -> Callable[[], object]:
        return lambda: evaluate_among(
            ranks, model, data, 'val', (20,), ('recall', 'ndcg'), [keep]
        )

    times = compared(evaluated(ALONE), evaluated(ranks), ranks, pairs // 3)
    return ['evaluation of VBPR', *times, '']


def costs() -> list[str]:
    """Return what a triple, a parameter, an edge and a score cost."""
    data = load(RANDOM)
    adam = nn.Parameter(torch.randn(5_000_000))
    optimizer = torch.optim.Adam([adam], fused=True)
    adam.grad = torch.randn_like(adam)
    of_adam = seconds(optimizer.step) / adam.numel()
    of_zeros = seconds(lambda: torch.zeros(adam.numel())) / adam.numel()

    task = Recommendation(VBPR.from_data(data), data)
    loader = TripletLoader(data, 16_384)
    batches = list(loader)
    user, pos, neg = batches[0]

    def step(batch: Batch) -> None:
        task.training_step(batch).backward()

    taken = []
    for size in (2048, 16_384):
        batch = user[:size], pos[:size], neg[:size]
        taken.append(seconds(partial(step, batch)))
    of_triple = (taken[1] - taken[0]) / (16_384 - 2048)

    keys = loader.keys
    order = seconds(lambda: torch.randperm(len(keys))) / len(keys)
    user = keys[torch.randperm(len(keys))] // loader.num_items
    drawn = seconds(lambda: loader.negatives(user)) / len(keys)

    users, items = torch.randn(1024, 192), torch.randn(7_050, 192)
    product = seconds(lambda: users @ items.t())
    return [
        f'a triple of VBPR, 64 wide and two modalities of 128: '
        f'{1e6 * of_triple:.2f} us',
        f'a parameter: Adam {1e9 * of_adam:.2f} ns, a zero for its gradient '
        f'{1e9 * of_zeros:.2f} ns',
        f'an edge: its place in an epoch {1e9 * order:.0f} ns, its negative '
        f'{1e9 * drawn:.0f} ns',
        f'a score, 192 wide: {1e9 * product / (1024 * 7_050):.2f} ns, '
        f'{2e-9 * 192 * 1024 * 7_050 / product:.0f} GFLOP/s',
    ]


def compare_tables() -> None:
    """Measure each kind in processes of its own."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    for kind, number in KINDS.items():
        command = [sys.executable, *TORCHRUN[:-1], f'--nproc-per-node={number}']
        command += [*sys.argv, '--kind', kind]
        subprocess.run(command, env=environment, check=True)


def measure_table(args: argparse.Namespace) -> None:
    """Print what a step costs, and what a process holds."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo')
    ranks = Ranks(dist.get_rank(), dist.get_world_size())
    data = one_item_each(args.tables, num_items=100_000)
    loader = TripletLoader(data, args.batch_size // ranks.size, ranks=ranks)
    batches = list(islice(loader, args.pairs + 2))
    torch.manual_seed(0)
    before = peak()
    by_rows = args.kind == 'two, by rows'
    with torch.device('meta' if by_rows else 'cpu'):
        model: nn.Module = VBPR.from_data(data, dim=64)
    if by_rows:
        model = Sharded(model)
        model.cut(ranks, torch.device('cpu'))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    step: nn.Module = TableLoss(model.train(), data)
    if args.kind == 'two, whole':
        step = averaged(step)
    times, sent = [], [loopback()]
    for batch in batches:
        dist.barrier()
        start = time.perf_counter()
        step(batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        dist.barrier()
        times.append(time.perf_counter() - start)
        sent.append(loopback())
    if ranks.rank == 0:
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        moved = (sent[-1] - sent[2]) / args.pairs / ranks.size
        print(
            f'{args.kind}: tables of a process {weights / 2**20:.0f} MiB, peak '
            f'memory beyond data {(peak() - before) / 2**20:.0f} MiB, a step '
            f'{1e3 * statistics.median(times[2:]):.0f} ms, sent by a process '
            f'{moved / 2**20:.2f} MiB'
        )
    dist.destroy_process_group()


def one_item_each(num_users: int, num_items: int) -> HeteroData:
    """Return users with an item each, and items without features."""
    generator = torch.Generator().manual_seed(0)
    item = torch.randint(num_items, (num_users,), generator=generator)
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = num_users, num_items
    data[RATES].edge_index = torch.stack([torch.arange(num_users), item])
    return data


class TableLoss(nn.Module):
    """What a step of training by IDs minimises."""

    def __init__(self, model: nn.Module, data: HeteroData) -> None:
        super().__init__()
        self.model, self.data = model, data

    def forward(self, batch: Batch) -> Tensor:
        model = as_recommender(self.model)
        losses = compute_losses(model, self.data, full([]), None, None, batch)
        return losses.total


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def loopback() -> int:
    """Return the bytes that processes of this machine have sent each other."""
    lines = Path('/proc/net/dev').read_text().splitlines()
    (numbers,) = (line.split()[1:] for line in lines if 'lo:' in line)
    return int(numbers[8])


def seconds(function: Callable[[], object], repeats: int = 7) -> float:
    """Return the shortest time of several."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == '__main__':
    main()
