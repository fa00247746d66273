"""Does CKD gain what its paper says, in the conditions of its authors?

    python benchmarks/authors.py --dataset baby --root data --seed 0 1 2
    python benchmarks/authors.py --dataset baby --root data --backbone MMGCN

Trains base, teachers and `CKD.published` with the settings, the sampling, the
rule of the split and the NDCG of the published code. The interactions are those
of the data set, all splits together, held out anew by the rule of LATTICE: per
user at random, drawn with the seed of the authors. Their own draw is not
public, and their texts were encoded by another model, so that figures are of
the same kind and not the same. Results are kept in a folder of their own,
`<data set>-authors`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from common import add_arguments, run_shown, status
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd import from_interactions
from pyg_ckd.balance import Teacher
from pyg_ckd.datasets.splits import LATTICESplit
from pyg_ckd.experiments import METHODS, Experiment, Result, Settings, Store
from pyg_ckd.experiments.cli.output import tables
from pyg_ckd.experiments.cli.table import terminal_table
from pyg_ckd.experiments.data_sets import opener
from pyg_ckd.graph import RATES, modalities

SETTINGS = Path(__file__).with_suffix('.toml')
SEED = 123  # of the published code
METHODS_OF_PAPER = ('base', 'teachers', 'ckd-published')
SPLITS = ('edge_index', 'val_edge_label_index', 'test_edge_label_index')


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='CKD as its authors have it.')
    add_arguments(parser)
    args = parser.parse_args(argv)
    name = f'{args.dataset}-authors'
    open_whole = opener(args.dataset, args.root, args.results / 'data')

    def open_split(transform: BaseTransform | None) -> HeteroData:
        data = held_out_anew(open_whole(None))
        return data if transform is None else transform(data)

    experiment = Experiment(
        name,
        open_split,
        Settings.read(args.settings or SETTINGS),
        Store(args.results / (args.run or name)),
        max_epochs=args.max_epochs,
        device=args.device,
    )
    methods = [METHODS[each] for each in METHODS_OF_PAPER]
    results = run_shown(experiment, args, methods)
    tables().print(terminal_table(results, f'{name}, test'))
    for line in their_ndcg(experiment, results):
        tables().print(line, soft_wrap=True)
    return status(results)


def held_out_anew(data: HeteroData) -> HeteroData:
    """Return the graph with all interactions held out by LATTICE's rule."""
    user, item = torch.cat([data[RATES][name] for name in SPLITS], dim=1)
    return from_interactions(
        user,
        item,
        {m: data['item'][f'x_{m}'] for m in modalities(data)},
        split=LATTICESplit(seed=SEED),
        num_users=data['user'].num_nodes,
    )


def their_ndcg(experiment: Experiment, results: list[Result]) -> list[str]:
    """Return the NDCG of the published code, whose ideal is of found items."""
    lines = []
    for result in results:
        path = experiment.store.embeddings(result.run.key)
        if not result.error and path.exists():
            found = Teacher.load(path).evaluate(
                experiment.data(), split='test', ks=(20,), protocol='ckd'
            )
            lines.append(f'{result.run}: {found["ndcg@20"]:.4f}')
    head = 'NDCG@20 as the published code has it: '
    return [head + '; '.join(lines)] if lines else []


if __name__ == '__main__':
    sys.exit(main())
