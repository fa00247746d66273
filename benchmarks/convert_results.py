"""Convert results of version 0.1, so that they can be read and shown.

    python benchmarks/convert_results.py results/baby
    python benchmarks/convert_results.py baby.jsonl

Takes a folder with `results.jsonl`, or a file; of a file `baby.jsonl` it makes
a folder `baby`. The old file is kept as `*.v0.1`, next to where it was. What
becomes of a line:

- the method, once a text such as `ckd[gate]`, is a `Method` with a name for
  readers. What was removed since, such as `ckd[mse]`, has its settings as
  `changes`, in the words of then;
- settings are as they were written: `l2` in `train`, `gamma` and `tau` in
  `ckd`, who taught in `teachers`. Defaults of then are not filled in, and
  nothing is put into the words of now;
- the fingerprint of the data, once one of the settings, is that of the run. It
  covers training and features alone;
- the version is 0.1.0 and there are no keys of teachers, so that no run of now
  has the same key: these results are shown, and never taken for a new run;
- metrics, history, epochs and seconds are the same, and so are the metrics of
  users and the hits, where there are files of them. Of the environment nothing
  is known but that.

Embeddings of teachers are not converted. A line that was cut off is named and
left out, and one that is a new result stays. Any other line stops it before
anything is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from variants import VARIANTS

from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.experiments import METHODS, Method, Result, Run, Store

VERSION = '0.1.0'
ENVIRONMENT = {'note': f'converted from a file of version {VERSION}'}
FIELDS: dict[str, type | tuple[type, ...]] = {
    'dataset': str,
    'backbone': str,
    'method': str,
    'seed': int,
    'settings': dict,
    'test': dict,
    'val': dict,
    'history': list,
    'epochs': int,
    'seconds': (int, float),
}
#: Variants that were removed, with what they changed, in the words of then.
REMOVED = {
    f'ckd[{name}]': Method.student(
        'CKD', changes={'CKD': changes}, name=f'CKD, {spelled}'
    )
    for name, spelled, changes in (
        ('mse', 'MSE', {'specific': 'mse'}),
        ('kl', 'KL', {'specific': 'kl'}),
        ('skip missing', 'skip missing', {'skip_missing': True}),
        ('detached', 'detached', {'detach_shared': True}),
    )
}
#: Methods by their names of then, but for teachers.
KNOWN = {
    'base': METHODS['base'],
    'ckd': METHODS['ckd'],
    'ensemble': METHODS['ensemble'],
    **{
        f'{"ckd" if method.balance else "base"}[{name}]': method
        for name, method in VARIANTS.items()
    },
    **REMOVED,
}


def method_of(name: str) -> Method:
    """Return the method of a name of then.

    Raises:
        ValueError: If there was none of that name.
    """
    teacher = re.fullmatch(r'teacher\((.+)\)', name)
    if teacher:
        return Method('teacher', modality=teacher[1])
    if name not in KNOWN:
        raise ValueError(f"there was no method '{name}'")
    return KNOWN[name]


def result_of(old: Any, folder: Path) -> Result:
    """Return the result of a line of then.

    Args:
        old: The values of the line.
        folder: Where metrics of users and hits are, in folders of their own.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(old, dict) or old.keys() != FIELDS.keys():
        raise ValueError(f'it needs to have {", ".join(FIELDS)}')
    for name, kind in FIELDS.items():
        if not isinstance(old[name], kind) or isinstance(old[name], bool):
            raise ValueError(f"'{name}' is {old[name]!r}")
    settings = {k: v for k, v in old['settings'].items() if k != 'data'}
    run = Run(
        old['dataset'],
        old['backbone'],
        method_of(old['method']),
        old['seed'],
        settings,
        old['settings'].get('data', ''),
        version=VERSION,
    )
    given = ('test', 'val', 'history', 'epochs', 'seconds')
    arrays = arrays_of(old, folder)
    return Result(
        run,
        **{name: old[name] for name in given},
        environment=ENVIRONMENT,
        users=arrays.get('users', {}),
        hits=arrays.get('hits', {}),
    )


def arrays_of(
    old: Mapping[str, Any], folder: Path
) -> dict[str, dict[str, Tensor]]:
    """Return the metrics of users and the hits of a line, where they are."""
    names = ('dataset', 'backbone', 'method', 'seed', 'settings')
    key = json.dumps({name: old[name] for name in names}, sort_keys=True)
    file = f'{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz'
    found = {}
    for kind in ('users', 'hits'):
        path = folder / kind / file
        if path.exists():
            with np.load(path, allow_pickle=False) as arrays:
                found[kind] = {
                    name: torch.from_numpy(x) for name, x in arrays.items()
                }
    return found


def converted(path: Path, log: Path) -> list[str]:
    """Convert a file, and return what is to be said of it.

    Args:
        path: The file.
        log: `results.jsonl` of the folder that it becomes.

    Raises:
        ValueError: If a line is neither an old nor a new result.
        FileExistsError: If what it would write is there already.
    """
    entries: list[bytes | Result] = []
    said, number_of_old = [], 0
    for number, line in enumerate(path.read_bytes().split(b'\n'), 1):
        where = f"'{path}', line {number}"
        try:
            values = json.loads(line)
            if isinstance(values, dict) and 'run' in values:
                entries.append(line)
            else:
                entries.append(result_of(values, path.parent))
                number_of_old += 1
        except json.JSONDecodeError:
            if line.strip():
                said.append(f'{where}, was cut off and is left out')
        except ValueError as error:
            raise ValueError(
                f'{where}, is no result of version {VERSION}: {error}'
            ) from error
    if not number_of_old:
        return [*said, f"'{path}' has nothing to convert"]
    kept = path.with_name(f'{path.name}.v0.1')
    for target in {log, kept} - {path}:
        if target.exists():
            raise FileExistsError(f"'{target}' is there already")

    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=log.parent) as temporary:
        store = Store(temporary)
        for entry in entries:
            if isinstance(entry, Result):
                store.save(entry)
            else:
                with store.log.open('ab') as lines:
                    lines.write(entry + b'\n')
        for array in Path(temporary).glob('users/*.npz'):
            (log.parent / 'users').mkdir(exist_ok=True)
            os.replace(array, log.parent / 'users' / array.name)
        with open_atomic(kept) as file:
            file.write(path.read_bytes())
        os.replace(store.log, log)
    if path != log:
        path.unlink()
    return [
        *said,
        f"{number_of_old} results are in '{log}', and as they were in '{kept}'",
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('path', type=Path, help='a folder or a file')
    path = parser.parse_args(argv).path
    if path.is_dir():
        path /= 'results.jsonl'
    own = path.name == 'results.jsonl'
    log = path if own else path.with_suffix('') / 'results.jsonl'
    try:
        for line in converted(path, log):
            print(line)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error


if __name__ == '__main__':
    main()
