"""What becomes of saved models that are broken, or made to deceive?

    python benchmarks/broken_models.py
    python benchmarks/broken_models.py --number 100000

Takes a saved model and changes one of its files at random: cuts it, flips bits,
puts in other bytes, repeats or deletes a part of it, or changes one value of
its JSON; of every other folder, the digests are then made to fit, as a forger
would. Each folder is loaded. It may be refused by an error that names it, or be
served, and then its lists need to be well formed; all else is a failure, as is
memory that grows beyond a limit. It ends with a table of what happened.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.nn import VBPR
from pyg_ckd.serving import Served, load, load_model, save
from pyg_ckd.serving._folder import MANIFEST, write_manifest
from pyg_ckd.serving._load import features_of

#: Values that a forger might try.
VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 2**31, 10**18, 1.5, 1e308, '', 'VBPR'),
    *('os.system', '../../etc/passwd', 'x' * 10_000, [], {}, [[]], [None]),
]
KINDS = ('cut', 'bits', 'bytes', 'repeat', 'delete', 'value')


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Broken models.')
    parser.add_argument('--number', default=10_000, type=int)
    parser.add_argument('--seed', default=0, type=int)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    draw = random.Random(args.seed)
    data = FakeMultimodal(num_users=12, num_items=9)[0]
    data['item'].name = [f'item {number}' for number in range(9)]
    found: Counter[tuple[str, str]] = Counter()
    failures: list[str] = []
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        whole, folder = Path(root, 'whole'), Path(root, 'model')
        save(VBPR.from_data(data, dim=2), data, whole)
        before = peak()
        for number in range(args.number):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            kind = draw.choice(KINDS)
            change(folder, kind, draw)
            if number % 2:
                forge(folder)
            outcome = tried(folder, failures)
            found[kind, outcome] += 1
        grown = peak() - before
    seconds = time.perf_counter() - begin

    outcomes = sorted({outcome for _, outcome in found})
    table = Table('change', *outcomes, box=box.SIMPLE_HEAD, show_edge=False)
    for kind in KINDS:
        table.add_row(kind, *(str(found[kind, each]) for each in outcomes))
    console = Console()
    console.print(table)
    console.print(
        f'{args.number:,} folders, {1e3 * seconds / args.number:.1f} ms each, '
        f'{grown:.0f} MB more at most'
    )
    for failure in failures[:10]:
        console.print(failure, soft_wrap=True, markup=False)
    return 1 if failures or grown > 200 else 0


def change(folder: Path, kind: str, draw: random.Random) -> None:
    """Change one file of a folder."""
    if kind == 'value':
        path = folder / MANIFEST
        values = json.loads(path.read_text('utf-8'))
        change_value(values, draw)
        path.write_text(json.dumps(values), 'utf-8')
        return
    path = draw.choice(sorted(folder.iterdir()))
    raw = bytearray(path.read_bytes())
    start, length = draw.randrange(len(raw)), draw.randrange(1, 64)
    part = raw[start : start + length]
    if kind == 'cut':
        del raw[start:]
    elif kind == 'bits':
        for _ in range(draw.randrange(1, 9)):
            raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    elif kind == 'bytes':
        raw[start : start + length] = draw.randbytes(length)
    elif kind == 'repeat':
        raw[start:start] = part * draw.randrange(1, 20)
    else:
        del raw[start : start + length]
    path.write_bytes(raw)


def change_value(values: Any, draw: random.Random) -> None:
    """Put another value somewhere into nested ones."""
    while True:
        keys = list(values) if isinstance(values, dict) else range(len(values))
        key = draw.choice(list(keys))
        inside = isinstance(values[key], dict | list) and values[key]
        if not inside or draw.random() < 0.3:
            values[key] = draw.choice(VALUES)
            return
        values = values[key]


def forge(folder: Path) -> None:
    """Make the digests fit, if the manifest can be read."""
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_bytes())
        kept = {k: x for k, x in values.items() if k != 'files'}
    except (ValueError, AttributeError, RecursionError):
        return
    path.unlink()
    write_manifest(folder, {})
    files = json.loads(path.read_text('utf-8'))['files']
    path.write_text(json.dumps({**kept, 'files': files}), 'utf-8')


def tried(folder: Path, failures: list[str]) -> str:
    """Return what loading comes to."""
    outcome = 'served'
    for reader in (load, load_model, features_of):
        try:
            made = reader(folder)
        except (ValueError, FileNotFoundError) as error:
            outcome = 'refused'
            if str(folder) not in str(error):
                failures.append(f'does not name the folder: {error}')
        except Exception as error:
            failures.append(f'{type(error).__name__}: {error}')
            return 'failed'
        else:
            if isinstance(made, Served):
                users = made.users.of([0, 1])
                if not all(map(len, made.recommend(users, 3))):
                    failures.append('recommends nothing')
    return outcome


def peak() -> float:
    """Return the most memory that was used so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == '__main__':
    sys.exit(main())
