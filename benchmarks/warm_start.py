"""Is it worth beginning where an earlier model has ended?

    python benchmarks/warm_start.py --dataset lastfm-2k --root data \
        --backbone VBPR LightGCN --seed 0 1 2

A shop grows: a share of its users and of its items are new since the last
training. The earlier model is trained without them; the next one on all data,
once from scratch and once from the earlier model. It ends with a table of
Recall@20 on test, seconds, the epochs after which validation is within one
percent of the best from scratch, and Recall@20 on validation of what the warm
one began with. Earlier models are kept in a folder, `earlier`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import defaultdict
from statistics import fmean
from typing import NamedTuple

import torch
from common import add_arguments, experiment_of, run_shown, status
from new_users import left_out
from pytorch_lightning import seed_everything
from rich import box
from rich.table import Table
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.experiments import Experiment, Run
from pyg_ckd.experiments.build import model_of, objective_of
from pyg_ckd.experiments.cli import arguments
from pyg_ckd.experiments.cli.output import tables
from pyg_ckd.graph import RATED_BY, RATES
from pyg_ckd.ranking import evaluate
from pyg_ckd.serving import ColdItems, warm_start
from pyg_ckd.train import Recommendation, fit

COLUMNS = ('Recall@20', 'seconds', 'epochs to 99 %')


class Earlier(BaseTransform):
    """Leaves out users and items that came later, and names all.

    Args:
        share (float): The share of both; 0 leaves nothing out.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def forward(self, data: HeteroData) -> HeteroData:
        data = data.clone()
        for node in ('user', 'item'):
            num_nodes = data[node].num_nodes
            data[node].name = [f'{node} {row}' for row in range(num_nodes)]
        if not self.share:
            return data
        data = ColdItems.of(data, self.share).warm
        kept = ~left_out(data, self.share)
        number = kept.cumsum(0) - 1
        rates = data[RATES]
        for name, pairs in list(rates.items()):
            user, item = pairs[:, kept[pairs[0]]]
            rates[name] = torch.stack([number[user], item])
        rows = kept.nonzero().flatten().tolist()
        data['user'].name = [data['user'].name[row] for row in rows]
        data['user'].num_nodes = len(rows)
        if RATED_BY in data.edge_types:
            data[RATED_BY].edge_index = rates.edge_index.flip(0)
        return data

    def __repr__(self) -> str:
        return f'Earlier(share={self.share})'


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Warm starts.')
    add_arguments(parser)
    arguments.add_objective(parser)
    parser.add_argument('--share', default=0.1, type=float)
    args = parser.parse_args(argv)
    base = arguments.method_of('base', args.objective)
    earlier = experiment_of(args, Earlier(args.share), 'earlier')
    earlier.save = True
    now = experiment_of(args, Earlier(0.0), 'now')
    results = run_shown(earlier, args, [base])
    found: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    for result in results:
        folder = earlier.store.model(result.run.key)
        if result.error or not folder.exists():
            continue
        backbone, seed = result.run.backbone, result.run.seed
        (run,) = now.plan([backbone], [base], [seed])
        begun = begun_with(now, run, folder)
        level, scratch = 0.0, trained(now, run)
        for entry in scratch.history:
            level = max(level, 0.99 * entry['val_recall@20'])
        warm = trained(now, run, warm_start=folder)
        found[backbone, 'scratch'].append((*scratch.figures(level), 0.0))
        found[backbone, 'warm'].append((*warm.figures(level), begun))

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.title = f'{args.dataset}, {args.share:.0%} of users and items new'
    for column in ('backbone', 'start', 'seeds', *COLUMNS, 'began with'):
        table.add_column(column)
    for (backbone, start), rows in found.items():
        recall, seconds, epochs, begun = map(fmean, zip(*rows, strict=True))
        cells = f'{recall:.4f}', f'{seconds:.0f}', f'{epochs:.0f}'
        began = f'{begun:.4f}' if begun else ''
        table.add_row(backbone, start, str(len(rows)), *cells, began)
    tables().print(table)
    return status(results)


def task_of(experiment: Experiment, run: Run) -> Recommendation:
    """Return the task of a run, as it is before training."""
    seed_everything(run.seed)
    data = experiment.data(run)
    model = model_of(experiment.backbones[run.backbone], data, run.settings)
    objective = objective_of(run.settings)
    return Recommendation(model, data, objective, **run.settings['train'])


def begun_with(experiment: Experiment, run: Run, folder: object) -> float:
    """Return what a warm start has on validation before training."""
    task = task_of(experiment, run)
    warm_start(task.model, task.data, str(folder))
    return evaluate(task, task.data, 'val', ks=(20,))['recall@20']


class Trained(NamedTuple):
    """What a training has come to."""

    test: float
    seconds: float
    history: list[dict[str, float]]

    def figures(self, level: float) -> tuple[float, float, float]:
        """Return Recall on test, seconds, and the epoch of a level."""
        epoch = next(
            entry['epoch']
            for entry in [*self.history, {'epoch': math.inf}]
            if entry.get('val_recall@20', 1.0) >= level
        )
        return self.test, self.seconds, epoch


def trained(experiment: Experiment, run: Run, **kwargs: object) -> Trained:
    """Train a run, with further arguments of `fit`."""
    task = task_of(experiment, run)
    begin = time.perf_counter()
    fit(task, progress=False, **{**run.settings['fit'], **kwargs})
    seconds = time.perf_counter() - begin
    test = evaluate(task, task.data, 'test', ks=(20,))['recall@20']
    return Trained(test, seconds, task.history)


if __name__ == '__main__':
    sys.exit(main())
