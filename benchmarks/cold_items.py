"""How well are items recommended that nobody has bought yet?

    python benchmarks/cold_items.py --dataset lastfm-2k --root data \
        --backbone VBPR LightGCN FREEDOM --seed 0 1 2

A share of the items is held out with all who have them. Bases and CKD are
trained on what is left, with the settings of the data set, and meet the others
by their features alone. It ends with a table of Recall@20 on them, once among
the cold items and once among all, beside FeatureKNN, which needs no training,
and chance. Results are kept in a folder of their own, `cold`, and models with
them.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import replace
from statistics import fmean

import torch
from common import add_arguments, experiment_of, run_shown, status
from rich import box
from rich.table import Table
from torch import nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.experiments.cli import arguments
from pyg_ckd.experiments.cli.output import tables
from pyg_ckd.nn import FeatureKNN
from pyg_ckd.serving import ColdItems, load_model
from pyg_ckd.transforms import StandardizeModality


class OnlyWarm(BaseTransform):
    """Leaves the cold items out.

    Args:
        share (float): The share of the items that are cold.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def forward(self, data: HeteroData) -> HeteroData:
        return ColdItems.of(data, self.share).warm

    def __repr__(self) -> str:
        return f'OnlyWarm(share={self.share})'


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Cold items.')
    add_arguments(parser)
    parser.add_argument('--method', nargs='+', default=['base', 'ckd'])
    arguments.add_objective(parser)
    parser.add_argument('--share', default=0.2, type=float)
    args = parser.parse_args(argv)
    whole = experiment_of(args).data()
    cold = ColdItems.of(whole, args.share)
    experiment = experiment_of(args, before=OnlyWarm(args.share), folder='cold')
    experiment.save = True
    methods = [
        arguments.method_of(name, args.objective) for name in args.method
    ]
    results = run_shown(experiment, args, methods)

    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for result in results:
        run = result.run
        if not result.error and run.method.kind in ('base', 'student'):
            model = load_model(experiment.store.model(run.key))
            pair = both(cold, model, experiment.data(run))
            found[run.backbone, str(run.method)].append(pair)
    knn = FeatureKNN.from_data(cold.warm, k=10)
    found['FeatureKNN', 'base'] = [both(cold, knn, cold.warm)]

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.title = f'{args.dataset}, {len(cold.item)} cold items, Recall@20'
    for column in ('backbone', 'method', 'seeds', 'among them', 'among all'):
        table.add_column(
            column, justify='left' if column == 'backbone' else 'right'
        )
    for (backbone, method), pairs in found.items():
        among, every = (fmean(column) for column in zip(*pairs, strict=True))
        row = backbone, method, str(len(pairs)), f'{among:.4f}', f'{every:.4f}'
        table.add_row(*row)
    chance = 20 / len(cold.item), 20 / whole['item'].num_nodes
    table.add_row('chance', '', '', *(f'{share:.4f}' for share in chance))
    tables().print(table)
    return status(results)


def met(cold: ColdItems, warm: HeteroData) -> ColdItems:
    """Return cold items whose features have the form of those of training."""
    standardised = [
        m
        for m in cold.features
        if not torch.equal(cold.warm['item'][f'x_{m}'], warm['item'][f'x_{m}'])
    ]
    if not standardised:
        return cold
    scale = StandardizeModality(*standardised)
    return replace(cold, features=scale.as_in(cold.warm, cold.features))


def both(
    cold: ColdItems, model: nn.Module, warm: HeteroData
) -> tuple[float, float]:
    """Return Recall@20 among the cold items, and among all."""
    cold = met(cold, warm)
    return (
        cold.evaluate(model, warm=warm)['recall@20'],
        cold.evaluate(model, warm=warm, among_all=True)['recall@20'],
    )


if __name__ == '__main__':
    sys.exit(main())
