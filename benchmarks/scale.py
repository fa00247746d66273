"""Builds the graphs of a large shop and takes a training step of each backbone.

    python benchmarks/scale.py

The shop is random and of the size of Amazon Electronics (5-core). Everything
runs in a process of its own, whose peak memory is shown, that of the data
included. Nearest neighbours are searched once for all and kept on disk; for
63,001 items with 4,096 features that takes 33 TFLOP, minutes on a few cores;
`--image-channels 128` is quicker.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.graph_dataset import GraphDataset
from pyg_ckd.graph import RATED_BY, RATES, modalities
from pyg_ckd.nn import models
from pyg_ckd.train import Recommendation
from pyg_ckd.transforms import ItemKNN
from pyg_ckd.views import full

NUM_USERS, NUM_ITEMS, NUM_INTERACTIONS = 192_403, 63_001, 1_689_188
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
#: One item graph for all that need one: what it holds does not matter here.
NEIGHBORS = ItemKNN(k=10, weight='cosine')
LIMIT = 8.0  # GB
REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description='Try a large shop.')
    add = parser.add_argument
    add('--backbone', nargs='+', default=BACKBONES, choices=BACKBONES)
    add('--image-channels', default=4096, type=int)
    add('--text-channels', default=384, type=int)
    add('--batch-size', default=2048, type=int)
    add('--only-measure', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only_measure:
        return measure(args)

    console = Console()
    table = Table('what', 'seconds', 'peak, GB', '')
    for name in ('item graphs', *args.backbone):
        with console.status(f'measuring: {name}'):
            out = subprocess.run(
                [sys.executable, *sys.argv, '--only-measure', name],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout
        seconds, peak = map(float, out.split()[-2:])
        verdict = 'ok' if peak < LIMIT else f'over {LIMIT} GB'
        table.add_row(name, f'{seconds:.1f}', f'{peak:.1f}', verdict)
    console.print(table)
    console.print(
        f'torch {torch.__version__}, {torch.get_num_threads()} threads'
    )
    return None


def measure(args: argparse.Namespace) -> None:
    """Print the seconds that a step took, and the peak memory."""
    start = time.perf_counter()
    root = REPOSITORY / 'results' / 'data' / 'shop'
    data = Shop(str(root), args.image_channels, args.text_channels)[0]
    if args.only_measure != 'item graphs':
        model = getattr(models, args.only_measure).from_data(data)
        if model.adjacency is not None:
            data = model.adjacency(data)
        if model.neighbors is not None:
            model.neighbors = NEIGHBORS
        task = Recommendation(model, data, batch_size=args.batch_size)
        optimizer = task.configure_optimizers()
        start = time.perf_counter()
        model.start_epoch(data, full(modalities(data)))
        task.training_step(next(iter(task.train_dataloader()))).backward()
        optimizer.step()
    seconds = time.perf_counter() - start

    status = Path('/proc/self/status').read_text()
    peak = int(status.split('VmHWM:')[1].split()[0]) * 1024 / 1e9
    print(seconds, peak)


class Shop(GraphDataset):
    """Random interactions, some users and items busier than others."""

    raw_paths = ()

    def __init__(
        self, root: str, image_channels: int, text_channels: int
    ) -> None:
        self.channels = {'image': image_channels, 'text': text_channels}
        super().__init__(root, pre_transform=NEIGHBORS)

    @property
    def settings(self) -> dict[str, int]:
        return self.channels

    @property
    def processed_parent(self) -> str:
        return self.root

    def build(self) -> HeteroData:
        torch.manual_seed(0)
        # Squares of uniform numbers favour low ids, of users and of items:
        user = (torch.rand(2 * NUM_INTERACTIONS).square() * NUM_USERS).long()
        item = (torch.rand(2 * NUM_INTERACTIONS).square() * NUM_ITEMS).long()
        pairs = torch.unique(torch.stack([user, item]), dim=1)
        order = torch.randperm(pairs.size(1))[:NUM_INTERACTIONS]
        data = HeteroData()
        data['user'].num_nodes = NUM_USERS
        data['item'].num_nodes = NUM_ITEMS
        for name, size in self.channels.items():
            data['item'][f'x_{name}'] = torch.randn(NUM_ITEMS, size)
        data[RATES].edge_index = pairs[:, order]
        data[RATED_BY].edge_index = pairs[:, order].flip(0)
        return data


if __name__ == '__main__':
    main()
