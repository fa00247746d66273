"""Measures what training costs as a shop grows from 10^5 to 10^7 interactions.

    python benchmarks/scale.py
    python benchmarks/scale.py --users 192403 --backbone LATTICE MICRO
    python benchmarks/scale.py --backbone LightGCN --method sampled sampled-CKD

The shop is `FakeMultimodal` with log-normal activity and popularity. Of each
size and backbone, base and CKD are measured in processes of their own, whose
peak memory is shown, that of the data included. Times are processor time of
one thread, on which other work on the machine has little influence:

- what comes before the first step, graphs included (ready);
- a step with a batch of 2,048 triples, and a large one with a fiftieth of all,
  the fastest of some;
- an epoch with each, extrapolated: its steps, its triples, which are drawn,
  and what the model does before;
- the evaluation of 10,000 users, all items ranked; all users take as many
  times longer as there are more of them.

The exponents below are those of a power of the interactions of training, by
least squares in logarithms. A copy of the best weights, which `fit` keeps, is
not in the memory. Item graphs link random items, for that costs the same; what
searching the nearest takes is the row `ItemKNN`, up to 100,000 users unless
`--all-neighbors` is set, since it grows by the square.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
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
from torch_geometric.data import HeteroData

from pyg_ckd.balance import CKD, Teacher
from pyg_ckd.datasets.fake_multimodal import FakeMultimodal
from pyg_ckd.graph import RATED_BY, RATES, check, modalities
from pyg_ckd.kernels.allocator import memory_reused_if_small
from pyg_ckd.kernels.sparse import Graph, csr, transposed
from pyg_ckd.nn import Sampled, models
from pyg_ckd.ranking import evaluate
from pyg_ckd.train import Recommendation
from pyg_ckd.transforms import ItemKNN
from pyg_ckd.transforms.named_graphs import add_graph
from pyg_ckd.views import full, only

BACKBONES = [
    'VBPR',
    'LightGCN',
    'MMGCN',
    'GRCN',
    'EgoGCN',
    'LATTICE',
    'MICRO',
    'FREEDOM',
    'MGCN',
    'LGMRec',
    'SMORE',
    'STAIR',
    'BM3',
]
METHODS = ['base', 'CKD', 'sampled', 'sampled-CKD']
SIZES = [10_000, 100_000, 1_000_000]
#: Of a shop: interactions of a user, items for each user, features.
MEAN, ITEMS, CHANNELS = 12, 0.36, 128
#: Neighbours of a node in a sample.
SAMPLED = 10
#: Steps of an epoch whose batch grows with the shop.
STEPS = 50
USERS_EVALUATED = 10_000
#: One item graph for all that need one.
NEIGHBORS = ItemKNN(k=10, weight='cosine')
LIMIT = 16.0  # GB
REPOSITORY = Path(__file__).resolve().parents[1]
COLUMNS = {
    'edges': 'edges',
    'ready': 'ready, s',
    'step': 'step, ms',
    'epoch': 'epoch, s',
    'large_step': 'large step, ms',
    'large_epoch': 'epoch, s',
    'evaluation': 'eval., s',
    'peak': 'peak, GB',
}

#: Of torch, for blocks beyond 2 MB; `pyg-ckd` sets it, too.
HUGE_PAGES = {'THP_MEM_ALLOC_ENABLE': '1', **os.environ}
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description='Let a shop grow.')
    add = parser.add_argument
    add('--users', nargs='+', default=SIZES, type=int)
    add(
        '--backbone',
        nargs='+',
        default=['VBPR', 'LightGCN', 'FREEDOM'],
        choices=BACKBONES,
    )
    add('--method', nargs='+', default=METHODS[:2], choices=METHODS)
    add('--all-neighbors', action='store_true')
    add('--out', default=REPOSITORY / 'results' / 'scale', type=Path)
    add('--only-measure', nargs='+', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only_measure:
        print(json.dumps(measured(args.out, *args.only_measure)))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    console = Console()
    path = args.out / 'scale.json'
    rows: list[Row] = json.loads(path.read_text()) if path.exists() else []
    for size in sorted(args.users):
        names = [('shop', '')]
        names += [(b, m) for b in args.backbone for m in args.method]
        if args.all_neighbors or size <= 100_000:
            names.append(('ItemKNN', ''))
        for what, method in names:
            key = {'what': f'{what} {method}'.strip(), 'users': size}
            if what == 'shop' and not shop_path(args.out, size).exists():
                rows = [row for row in rows if row['users'] != size]
            if any(key.items() <= row.items() for row in rows):
                continue
            with console.status(f'measuring: {key}'):
                rows.append({**key, **in_own_process(what, method, size)})
            path.write_text(json.dumps(rows, indent=1))
    show(rows, console)


def in_own_process(what: str, method: str, size: int) -> Row:
    """Return what a process of its own has measured, or how it ended."""
    command = [sys.executable, *sys.argv, '--only-measure', what]
    command += [method or '-', str(size)]
    done = subprocess.run(
        command, env=HUGE_PAGES, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        return {'ended': done.returncode}
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def measured(folder: Path, what: str, method: str, size: str) -> Row:
    """Measure one thing in this process."""
    torch.set_num_threads(1)
    if what == 'shop':
        row = measure_shop(folder, int(size))
    else:
        data = open_shop(folder, int(size))
        if what == 'ItemKNN':
            ready = clock(lambda: NEIGHBORS(data))
            row = {'edges': data[RATES].edge_index.size(1), 'ready': ready}
        else:
            with memory_reused_if_small():  # as in `fit`
                row = measure_training(what, method, data)
    return {**row, 'peak': peak()}


def measure_shop(folder: Path, size: int) -> Row:
    """Make a shop, and keep it."""
    start = time.process_time()
    data = FakeMultimodal(
        num_users=size,
        num_items=round(ITEMS * size),
        num_interactions=MEAN,
        num_channels=CHANNELS,
        popularity=1.0,
        activity=0.75,
    )[0]
    row = {
        'edges': data[RATES].edge_index.size(1),
        'ready': time.process_time() - start,
    }
    torch.save(data.to_dict(), shop_path(folder, size))
    return row


def shop_path(folder: Path, size: int) -> Path:
    return folder / f'shop_{size}.pt'


def open_shop(folder: Path, size: int) -> HeteroData:
    """Return a shop that was kept, with few users in its validation split."""
    data = HeteroData.from_dict(
        torch.load(shop_path(folder, size), weights_only=True)
    )
    rates = data[RATES]
    val = rates.val_edge_label_index
    some = torch.randperm(
        data['user'].num_nodes, generator=torch.Generator().manual_seed(0)
    )[:USERS_EVALUATED]
    rates.val_edge_label_index = val[:, torch.isin(val[0], some)]
    del rates.test_edge_label_index, data[RATED_BY]
    return check(data)


def measure_training(backbone: str, method: str, data: HeteroData) -> Row:
    """Measure steps and an evaluation of a training."""
    torch.manual_seed(0)
    start = time.process_time()
    model = getattr(models, backbone).from_data(data)
    if model.adjacency is not None:
        data = model.adjacency(data)
    if model.neighbors is not None:
        model.neighbors = NEIGHBORS
        data = with_item_graphs(data)
    if method.startswith('sampled'):
        model = Sampled(model, [SAMPLED] * model.num_hops)
    keep = full(modalities(data))
    balance = CKD(teachers_of(data)) if method.endswith('CKD') else None
    task = Recommendation(model, data, balance=balance)
    if task.balance is not None:
        task.balance.begin(data)
    task.train()
    prepare = clock(lambda: model.start_epoch(data, keep))
    edges = data[RATES].edge_index.size(1)
    row: Row = {'edges': edges, 'ready': time.process_time() - start}
    optimizer = task.configure_optimizers()
    for name, size in (('', 2048), ('large_', math.ceil(edges / STEPS))):
        step, draw = steps(task, optimizer, size)
        row[f'{name}step'] = 1000 * step
        epoch = step * math.ceil(edges / size)
        row[f'{name}epoch'] = prepare + draw + epoch
    row['evaluation'] = clock(
        lambda: evaluate(model, data, 'val', (20,), metrics=('recall',))
    )
    return row


def steps(
    task: Recommendation, optimizer: torch.optim.Optimizer, size: int
) -> tuple[float, float]:
    """Return the seconds of the fastest step, and of drawing all triples."""
    task.train()
    task.batch_size = size
    batches = iter(task.train_dataloader())
    first: list[Any] = []
    draw = clock(lambda: first.append(next(batches)))

    def step(batch: Any) -> None:
        optimizer.zero_grad()
        task.training_step(batch).backward()
        optimizer.step()

    step(first.pop())
    seconds, until = [], time.perf_counter() + 40
    for batch in batches:
        seconds.append(clock(functools.partial(step, batch)))
        if len(seconds) >= 3 and time.perf_counter() > until:
            break
        if len(seconds) == 30:
            break
    return min(seconds), draw


def teachers_of(data: HeteroData) -> dict[frozenset[str], Teacher]:
    """Return teachers of random embeddings, as wide as those of VBPR."""
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    return {
        only(m): Teacher.from_embeddings(
            0.1 * torch.randn(num_users, 128),
            0.1 * torch.randn(num_items, 128),
            data,
        )
        for m in modalities(data)
    }


def with_item_graphs(data: HeteroData) -> HeteroData:
    """Add item graphs whose neighbours are drawn."""
    num, k = data['item'].num_nodes, NEIGHBORS.k
    item = torch.arange(num).repeat_interleave(k)
    shift = torch.randint(num // k, (num, k)) + num // k * torch.arange(k)
    other = (item + shift.flatten()) % num
    for m in modalities(data):
        adj_t = csr(item, other, torch.full((num * k,), 1 / k), num)
        data = add_graph(data, NEIGHBORS, m, Graph(adj_t, transposed(adj_t)))
    return data


def clock(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def peak() -> float:
    """Return the peak memory of this process, in GB; Linux alone knows it."""
    status = Path('/proc/self/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) * 1024 / 1e9


def exponent(rows: Sequence[Row], name: str) -> float | None:
    """Return the exponent of a power of the interactions, if there is one."""
    known = [row for row in rows if row.get(name)]
    if len({row['edges'] for row in known}) < 2:
        return None
    edges, values = np.log([[row['edges'], row[name]] for row in known]).T
    return float(np.polyfit(edges, values, 1)[0])


def show(rows: list[Row], console: Console) -> None:
    table = Table('what', 'users', *COLUMNS.values())
    table.add_column(no_wrap=True)
    for what in dict.fromkeys(row['what'] for row in rows):
        group = [row for row in rows if row['what'] == what]
        group.sort(key=lambda row: row['users'])
        for row in group:
            values = [shown(row.get(name)) for name in COLUMNS]
            verdict = f'ended: {row["ended"]}' if 'ended' in row else ''
            if row.get('peak', 0) > LIMIT:
                verdict = f'over {LIMIT:.0f} GB'
            table.add_row(what, f'{row["users"]:,}', *values, verdict)
        powers = [exponent(group, name) for name in list(COLUMNS)[1:]]
        if any(powers):
            texts = ['' if p is None else f'{p:.2f}' for p in powers]
            table.add_row('... exponent', '', '', *texts, '', style='bold')
    Console(width=132).print(table)
    console.print(f'torch {torch.__version__}')


def shown(value: float | None) -> str:
    if value is None:
        return ''
    return f'{value:,.0f}' if value >= 100 else f'{value:.2g}'


if __name__ == '__main__':
    main()
