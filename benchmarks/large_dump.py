"""Makes a graph of a generated dump as large as Amazon's Electronics of 2023.

    python benchmarks/large_dump.py --root FOLDER --scale 0.1 1.0

The files below `FOLDER/<scale>/` have the format, the counts and the lengths
of the product data of 2023: the 5-core of a benchmark, which holds out the
last interactions of each user, and metadata. Their content is random; those
that are there are kept. A few users and items have many interactions, most
have few. The graph is made in a process of its own, with a text encoder that
costs next to nothing, loaded in another, and linked by nearest neighbours in a
third. The table tells the seconds and the peak memory of each stage. At scale 1
the dump takes 0.8 GB of disk, what is made of it 1.4 GB, and the nearest
neighbours of all items some 18 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from amazon_dump import (
    CORE,
    HashingEncoder,
    asin,
    random_text,
    random_words,
    write_lines,
)
from numpy.random import Generator
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.amazon_reviews_2023 import AmazonReviews2023
from pyg_ckd.datasets.features.contents import Contents
from pyg_ckd.datasets.features.feature_cache import FeatureCache
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits import LeaveOneOut
from pyg_ckd.transforms import ItemKNN

NAME = 'Electronics'
HEADER = 'user_id,parent_asin,rating,timestamp'
FIRST, LAST = 946_684_800_000, 1_693_526_400_000  # In milliseconds.
PHASES = ('build', 'load', 'neighbours')
LETTERS = np.frombuffer(b'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 'S1')


class Size(NamedTuple):
    """The counts of a dump."""

    users: int
    items: int
    interactions: int
    texts: int  # Items with metadata; as many others have some, too.

    def scaled(self, scale: float) -> Size:
        """Return a part of it."""
        return Size(*(round(scale * count) for count in self))


FULL = Size(1_600_000, 370_000, 12_000_000, 200_000)


def main() -> None:
    parser = argparse.ArgumentParser(description='Read a large dump.')
    parser.add_argument('--root', required=True, type=Path)
    parser.add_argument('--scale', nargs='+', type=float, default=[0.1])
    parser.add_argument('--phase', nargs='+', choices=PHASES, default=PHASES)
    parser.add_argument('--measure', choices=PHASES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return measure(args.root, args.measure)

    table = Table('scale', 'phase', 'stage', 'seconds', 'of CPU', 'peak, GB')
    for scale in args.scale:
        root = args.root / f'{scale:g}'
        write_dump(root, FULL.scaled(scale))
        for phase in args.phase:
            command = [sys.executable, __file__, '--measure', phase]
            out = subprocess.run(
                [*command, '--root', str(root)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout
            for line in out.splitlines():
                table.add_row(f'{scale:g}', phase, *line.split('\t'))
    Console().print(table)
    return None


# What is measured ############################################################


def measure(root: Path, phase: str) -> None:
    """Print the seconds and the peak memory of the stages of a phase."""
    stages = Stages('start of the process')
    stages.begin('checksums' if phase == 'build' else 'loading')
    data = opened(root, stages)
    if phase == 'neighbours':
        stages.begin('nearest neighbours')
        ItemKNN(k=10)(data)
    stages.end()


def opened(root: Path, stages: Stages) -> HeteroData:
    """Return the graph of a dump, made if it is not there."""

    class Encoding(FeatureCache):
        """Tells when it encodes, and when it has done so."""

        def encode(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            stages.begin('encoding')
            encoded = super().encode(*args, **kwargs)
            stages.begin('graph')
            return encoded

    class Measured(AmazonReviews2023):
        """Tells when it begins with what."""

        def read_split(self) -> tuple[Interactions, Tensor]:
            stages.begin('interactions')
            interactions, label = super().read_split()
            stages.begin('leaving one out')
            LeaveOneOut()(interactions)
            for k in (CORE, 2 * CORE):
                stages.begin(f'{k}-core')
                interactions.core(k)
            return interactions, label

        def read_contents(self, items: list[str]) -> Contents:
            stages.begin('texts')
            return super().read_contents(items)

        @property
        def cache(self) -> FeatureCache:
            return Encoding(super().cache.folder)

        def process(self) -> None:
            super().process()
            stages.begin('loading')

    @dataclass(frozen=True)
    class Saving:
        """Tells when all that is left is to save."""

        def __call__(self, data: HeteroData) -> HeteroData:
            stages.begin('saving')
            return data

    return Measured(
        root, NAME, text_encoder=HashingEncoder(), pre_transform=Saving()
    )[0]


class Stages:
    """Prints the seconds and the peak memory of one stage after the other."""

    def __init__(self, name: str) -> None:
        self._name, self._start = name, seconds()
        self._first, self._peak = self._start, 0.0

    def begin(self, name: str) -> None:
        """End a stage, and begin another."""
        peak = peak_memory()
        self._print(self._name, seconds() - self._start, peak)
        # Linux has the peak start from what is used now:
        Path('/proc/self/clear_refs').write_text('5')
        self._peak = max(self._peak, peak)
        self._name, self._start = name, seconds()

    def end(self) -> None:
        """End the last stage, and print all seconds and the highest peak."""
        self.begin('')
        self._print('all', self._start - self._first, self._peak)

    @staticmethod
    def _print(name: str, took: NDArray[np.float64], peak: float) -> None:
        wall, cpu = took
        print(name, f'{wall:.1f}', f'{cpu:.1f}', f'{peak:.2f}', sep='\t')


def seconds() -> NDArray[np.float64]:
    """Return the time of the clock and that which processors have worked."""
    return np.array([time.perf_counter(), time.process_time()])


def peak_memory() -> float:
    """Return the most memory that this process has had, in GB."""
    # Other than `getrusage`, this does not count the process that started us:
    status = Path('/proc/self/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) * 1024 / 1e9


# The dump ####################################################################


def write_dump(root: Path, size: Size) -> None:
    """Write the files of a dump, unless they are there."""
    raw = root / 'AmazonReviews2023'
    splits = raw / 'benchmark' / '5core' / 'last_out'
    if not (splits / f'{NAME}.test.csv.gz').exists():
        write_interactions(splits, size, np.random.default_rng(0))
    metadata = raw / 'raw' / 'meta_categories' / f'meta_{NAME}.jsonl.gz'
    if not metadata.exists():
        write_metadata(metadata, size, np.random.default_rng(1))


def write_interactions(folder: Path, size: Size, rng: Generator) -> None:
    users = random_users(size.users, rng)
    items = [asin(item) for item in range(size.items)]
    user, item = random_pairs(size, rng)
    time = rng.integers(FIRST, LAST, size.interactions)
    rating = rng.integers(1, 6, size.interactions)
    order = np.lexsort((time, user))
    user, item, time = user[order], item[order], time[order]
    last = np.cumsum(np.bincount(user)) - 1
    label = np.zeros(size.interactions, np.int8)
    label[last], label[last - 1] = 2, 1

    def rows(of: int) -> Iterator[str]:
        yield HEADER
        at = np.flatnonzero(label == of)
        for part in np.array_split(at, len(at) // 100_000 + 1):
            values = (x[part].tolist() for x in (user, item, rating, time))
            for u, i, r, t in zip(*values, strict=True):
                yield f'{users[u]},{items[i]},{r}.0,{t}'

    for of, name in enumerate(('train', 'valid', 'test')):
        path = folder / f'{NAME}.{name}.csv.gz'
        write_lines(path, rows(of), int((label == of).sum()) + 1)


def write_metadata(path: Path, size: Size, rng: Generator) -> None:
    pool = random_words(rng)
    others = size.items + np.arange(size.texts)
    items = rng.choice(size.items, size.texts, replace=False)
    products = rng.permutation(np.concatenate([items, others]))
    write_lines(
        path,
        (json.dumps(product(int(i), pool, rng)) for i in products),
        len(products),
    )


def product(number: int, pool: str, rng: Generator) -> dict[str, Any]:
    """Return the metadata of a product, as long as they are in truth."""

    def texts(most: int, mean: int) -> list[str]:
        return [random_text(pool, mean, rng) for _ in range(rng.integers(most))]

    image = f'https://images.example.com/images/I/{number:09d}'
    return {
        'main_category': 'All Electronics',
        'title': random_text(pool, 200, rng) or 'A cup',
        'average_rating': 4.2,
        'rating_number': int(rng.integers(10_000)),
        'features': texts(10, 250),
        'description': texts(4, 1_200),
        'price': None if rng.random() < 0.5 else 9.99,
        'images': [
            {
                'thumb': f'{image}._AC_US40_.jpg',
                'large': f'{image}._AC_.jpg',
                'variant': 'MAIN' if place == 0 else f'PT{place:02d}',
                'hi_res': f'{image}._AC_SL1500_.jpg',
            }
            for place in range(rng.integers(8))
        ],
        'videos': [],
        'store': None if rng.random() < 0.1 else random_text(pool, 20, rng),
        'categories': ['Electronics', *texts(4, 40)],
        'details': {
            f'Detail {i}': text for i, text in enumerate(texts(12, 60))
        },
        'parent_asin': asin(number),
        'bought_together': None,
    }


def random_users(num: int, rng: Generator) -> list[str]:
    """Return ids of 28 capital letters and digits."""
    ids = LETTERS[rng.integers(32, size=(num, 28), dtype=np.uint8)]
    ids[:, 0] = b'A'
    return ids.view('S28').ravel().astype(str).tolist()


def random_pairs(
    size: Size, rng: Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the users and the items of interactions, all pairs different."""
    num = size.interactions
    user = random_degrees(size.users, num, size.items // 2, rng)
    item = random_degrees(size.items, num, size.users // 2, rng)
    rng.shuffle(item)
    while True:
        key = user * size.items + item
        order = np.argsort(key, kind='stable')
        twins = order[1:][np.diff(key[order]) == 0]
        if len(twins) == 0:
            return user, item
        # Each trades its item with a random one, which keeps all counts:
        others = rng.choice(len(item), len(twins), replace=False)
        for twin, other in zip(twins.tolist(), others.tolist(), strict=True):
            item[twin], item[other] = item[other], item[twin]


def random_degrees(
    num: int, total: int, most: int, rng: Generator
) -> NDArray[np.int64]:
    """Return each number as often as it occurs, from five times to the most."""
    weight = rng.pareto(1.2, num)
    extra = weight / weight.sum() * (total - CORE * num)
    count = np.minimum(CORE + extra.astype(np.int64), most)
    while left := total - count.sum():
        count[np.flatnonzero(count < most)[:left]] += 1
    return np.repeat(np.arange(num), count)


if __name__ == '__main__':
    main()
