"""Reads a generated dump of the true size of a category of Amazon.

    python benchmarks/amazon_dump.py Baby --root FOLDER

The files `FOLDER/Baby/raw/` have the formats and counts of the product data of
2014, but random content; those that are there are kept. Each category is read
in a process of its own, by an encoder of text that costs next to nothing, and
the table tells the seconds and the peak memory. The dump of Baby takes 1.3 GB
of disk, each of the others 4 GB.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tqdm.auto import tqdm

from pyg_ckd.datasets.raw.files import open_atomic

CORE = 5  # The least number of reviews of each user and item.
NUM_FEATURES = 4096
NUM_MISSING = 7  # Items without metadata, and as many others without image.


class Size(NamedTuple):
    """The counts of a category."""

    users: int
    items: int
    reviews: int
    metadata: int
    images: int


SIZES = {
    'Baby': Size(19_445, 7_050, 160_792, 71_317, 71_317),
    'Sports_and_Outdoors': Size(35_598, 18_357, 296_337, 532_197, 200_000),
    'Electronics': Size(192_403, 63_001, 1_689_188, 498_196, 200_000),
}


class HashingEncoder:
    """Counts the words of a text in buckets, by their hashes."""

    def __init__(self, num_features: int = 384) -> None:
        self.num_features = num_features

    def __call__(self, texts: list[str]) -> Tensor:
        x = torch.zeros(len(texts), self.num_features)
        for row, text in zip(x, texts, strict=True):
            hashes = [zlib.crc32(word.encode()) for word in text.split()]
            index = torch.tensor(hashes, dtype=torch.long) % self.num_features
            row += torch.bincount(index, minlength=self.num_features)
        return x

    def __repr__(self) -> str:
        return f'HashingEncoder({self.num_features})'


def main() -> None:
    parser = argparse.ArgumentParser(description='Read a category of Amazon.')
    parser.add_argument('category', nargs='+', choices=SIZES)
    parser.add_argument('--root', required=True, type=Path)
    parser.add_argument(
        '--only-measure', action='store_true', help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.only_measure:
        return measure(args.root, *args.category)

    table = Table(
        'category', 'users', 'items', 'reviews', 'seconds', 'peak, GB'
    )
    for name in args.category:
        write_dump(args.root, name, SIZES[name])
        command = [sys.executable, __file__, name, '--only-measure']
        out = subprocess.run(
            [*command, '--root', str(args.root)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        users, items, reviews, seconds, peak = map(float, out.split()[-5:])
        table.add_row(
            name,
            *(f'{count:,.0f}' for count in (users, items, reviews)),
            f'{seconds:.1f}',
            f'{peak:.1f}',
        )
    Console().print(table)
    return None


def measure(root: Path, name: str) -> None:
    """Print the counts, the seconds that reading took and the peak memory."""
    from pyg_ckd.datasets import AmazonMultimodal
    from pyg_ckd.graph import RATES

    start = time.perf_counter()
    data = AmazonMultimodal(
        root, name, text_encoder=HashingEncoder(), recipe=None
    )[0]
    seconds = time.perf_counter() - start

    rates = data[RATES]
    reviews = sum(
        rates[key].size(1)
        for key in (
            'edge_index',
            'val_edge_label_index',
            'test_edge_label_index',
        )
    )
    # Other than `getrusage`, this does not count the process that started us:
    status = Path('/proc/self/status').read_text()
    peak = int(status.split('VmHWM:')[1].split()[0]) * 1024 / 1e9
    print(
        data['user'].num_nodes, data['item'].num_nodes, reviews, seconds, peak
    )


def write_dump(root: Path, name: str, size: Size) -> None:
    """Write the three files of a category, as far as they are missing."""
    writers: dict[str, Callable[[Path, Size, Generator], None]] = {
        f'reviews_{name}_5.json.gz': write_reviews,
        f'meta_{name}.json.gz': write_metadata,
        f'image_features_{name}.b': write_images,
    }
    for seed, (file, write) in enumerate(writers.items()):
        path = root / name / 'raw' / file
        if not path.exists():
            write(path, size, np.random.default_rng(seed))


def write_reviews(path: Path, size: Size, rng: Generator) -> None:
    pool = random_words(rng)
    user, item = random_pairs(size, rng)

    def reviews() -> Iterator[str]:
        for number, (u, i) in enumerate(zip(user, item, strict=True)):
            seconds = 1_000_000_000 + 86_400 * int(rng.integers(4_600))
            review = {
                'reviewerID': user_id(u),
                'asin': asin(i),
                'reviewerName': f'Reader {u}',
                'helpful': [0, number % 9],
                'reviewText': random_text(pool, 1_300, rng),
                'overall': float(rng.integers(1, 6)),
                'summary': random_text(pool, 60, rng),
                'unixReviewTime': seconds,
                'reviewTime': time.strftime('%m %d, %Y', time.gmtime(seconds)),
            }
            yield json.dumps(review)

    write_lines(path, reviews(), size.reviews)


def write_metadata(path: Path, size: Size, rng: Generator) -> None:
    pool = random_words(rng)
    products = rng.permutation(size.metadata) + NUM_MISSING

    def lines() -> Iterator[str]:
        for product in products:
            also_bought = rng.integers(size.metadata, size=20)
            metadata: dict[str, Any] = {
                'asin': asin(product),
                'related': {
                    'also_bought': [asin(other) for other in also_bought]
                },
                'title': random_text(pool, 120, rng),
                'price': float(rng.integers(1, 20_000)) / 100,
                'salesRank': {'Shop': int(rng.integers(1_000_000))},
                'imUrl': f'http://images.example.com/images/{product}.jpg',
                'brand': random_text(pool, 20, rng),
                'categories': [random_text(pool, 60, rng).split()],
                'description': random_text(pool, 700, rng),
            }
            for key in ('title', 'price', 'brand', 'description'):
                if rng.random() < 0.1:
                    del metadata[key]
            yield repr(metadata)

    write_lines(path, lines(), size.metadata)


def write_images(path: Path, size: Size, rng: Generator) -> None:
    first, last = size.items - NUM_MISSING, size.items  # Without an image.
    products = rng.permutation(size.images)
    products[products >= first] += last - first
    record = np.dtype([('asin', 'S10'), ('x', '<f4', (NUM_FEATURES,))])
    chunk = np.empty(1_000, record)
    with open_atomic(path) as file:
        for start in progress(range(0, size.images, len(chunk)), path):
            part = products[start : start + len(chunk)]
            chunk['asin'][: len(part)] = [asin(product) for product in part]
            chunk['x'] = rng.random(chunk['x'].shape, np.float32)
            file.write(chunk[: len(part)].tobytes())


def write_lines(path: Path, lines: Iterator[str], num_lines: int) -> None:
    with (
        open_atomic(path) as raw,
        gzip.GzipFile(fileobj=raw, mode='wb', compresslevel=1) as file,
    ):
        for line in progress(lines, path, num_lines):
            file.write(f'{line}\n'.encode())


def progress(items: Any, path: Path, total: int | None = None) -> Any:
    desc = f'Writing {path.name}'
    return tqdm(items, total=total, desc=desc, leave=False, disable=None)


def random_pairs(
    size: Size, rng: Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the users and items of reviews, all pairs different.

    Each user takes the next items in turn, until all have enough. The rest is
    random, some users and items busier than others.
    """
    num_core = CORE * size.users
    if num_core < CORE * size.items or num_core > size.reviews:
        raise ValueError(f'{size} needs more users, or more reviews')
    turn = np.arange(num_core)
    core = turn % size.items * size.users + turn // CORE
    keys = core
    while len(keys) < size.reviews:
        # Squares of uniform numbers favour low ids, of users and of items:
        item = (rng.random(size.reviews) ** 2 * size.items).astype(np.int64)
        user = (rng.random(size.reviews) ** 2 * size.users).astype(np.int64)
        keys = np.union1d(keys, item * size.users + user)
    others = np.setdiff1d(keys, core)
    others = rng.choice(others, size.reviews - num_core, replace=False)
    item, user = np.divmod(
        np.sort(np.concatenate([core, others])), size.users
    )  # Sorted by item, like the true files.
    return user, item


def user_id(user: int) -> str:
    return f'A{user * 79_193_170_033 % 10**13:013d}'


def asin(item: int) -> str:
    return f'B{int(item) * 7_919_317 % 10**9:09d}'


def random_words(rng: Generator, length: int = 2_000_000) -> str:
    """Return random letters with spaces in between."""
    letters = rng.choice(
        list('aaabcdeeeefghiiklmnnooprsstttuvwy      '), length
    )
    return ''.join(letters)


def random_text(pool: str, mean: int, rng: Generator) -> str:
    """Return a text of about `mean / 2` characters, rarely up to `mean`."""
    start = rng.integers(len(pool) - mean)
    return pool[start : start + rng.integers(mean)].strip()


if __name__ == '__main__':
    main()
