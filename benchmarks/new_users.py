"""Are new users served as well as users who were trained?

    python benchmarks/new_users.py --dataset lastfm-2k --root data \
        --backbone VBPR LightGCN FREEDOM --seed 0 1 2

A share of the users is left out of training. Who is left out is served by
`recommend_new` from her training items; beside it stands a model that was
trained with her. It ends with a table of Recall@20 of these users on their
test items. Results are kept in folders of their own, `whole` and `without`,
and models with them.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections import defaultdict
from statistics import fmean

import torch
from common import add_arguments, experiment_of, run_shown, status
from rich import box
from rich.table import Table
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.experiments.cli import arguments
from pyg_ckd.experiments.cli.output import tables
from pyg_ckd.graph import RATED_BY, RATES
from pyg_ckd.metrics import recall
from pyg_ckd.nn import FixedEmbeddings
from pyg_ckd.ranking import rank
from pyg_ckd.serving import Served, load

LABELS = ('val_edge_label_index', 'test_edge_label_index')


class WithoutUsers(BaseTransform):
    """Leaves out all that some users have.

    Args:
        share (float): The share of the users.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def forward(self, data: HeteroData) -> HeteroData:
        out = left_out(data, self.share)
        data = copy.copy(data)
        for name in ('edge_index', *LABELS):
            pairs = data[RATES][name]
            data[RATES][name] = pairs[:, ~out[pairs[0]]]
        if RATED_BY in data.edge_types:
            data[RATED_BY].edge_index = data[RATES].edge_index.flip(0)
        return data

    def __repr__(self) -> str:
        return f'WithoutUsers(share={self.share})'


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='New users.')
    add_arguments(parser)
    parser.add_argument('--method', nargs='+', default=['base'])
    arguments.add_objective(parser)
    parser.add_argument('--share', default=0.2, type=float)
    args = parser.parse_args(argv)
    methods = [
        arguments.method_of(name, args.objective) for name in args.method
    ]
    experiments = {
        'trained': experiment_of(args, folder='whole'),
        'new': experiment_of(args, WithoutUsers(args.share), 'without'),
    }
    data = experiments['trained'].data()
    out = left_out(data, args.share)
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    results = []
    for label, experiment in experiments.items():
        experiment.save = True
        own = run_shown(experiment, args, methods)
        results += own
        for result in own:
            path = experiment.store.model(result.run.key)
            if path.exists() and not result.error:
                key = result.run.backbone, str(result.run.method)
                share = recall_of(load(path), data, out, label == 'new')
                found[key][label].append(share)

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.title = f'{args.dataset}, {int(out.sum())} users, Recall@20'
    for column in ('backbone', 'method', 'seeds', *experiments):
        table.add_column(column)
    for (backbone, method), shares in found.items():
        means = [f'{fmean(shares[label]):.4f}' for label in experiments]
        number = str(len(shares['new']))
        table.add_row(backbone, method, number, *means)
    tables().print(table)
    return status(results)


def left_out(data: HeteroData, share: float) -> Tensor:
    """Return which users are left out, ``[num_users]``."""
    num_users = data['user'].num_nodes
    order = torch.randperm(
        num_users, generator=torch.Generator().manual_seed(0)
    )
    out = torch.zeros(num_users, dtype=torch.bool)
    out[order[: round(share * num_users)]] = True
    return out


def recall_of(
    served: Served, data: HeteroData, out: Tensor, are_new: bool
) -> float:
    """Return the mean Recall@20 of some users on test.

    Args:
        served: The model.
        data: The whole data.
        out: Which users count.
        are_new: Whether they are folded in by what they have in training.
    """
    user_emb, item_emb = served.embeddings()
    user_emb = user_emb.clone()
    user, item = data[RATES].edge_index
    for row in out.nonzero().flatten().tolist() if are_new else ():
        history = served.items.of(item[user == row].tolist())
        if history:
            user_emb[row] = served.fold_in(history)
    ranking = rank(FixedEmbeddings(user_emb, item_emb), data, 'test', 20)
    return float(recall(ranking, 20)[out[ranking.user]].mean())


if __name__ == '__main__':
    sys.exit(main())
