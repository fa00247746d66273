"""Profiles a step of training: what is launched, and where time goes.

    OMP_NUM_THREADS=1 python benchmarks/profile_step.py
    OMP_NUM_THREADS=1 python benchmarks/profile_step.py --only VBPR --kinds CKD

The data is random, of the size of Amazon Baby. Of each step there are

- the launches: the operators that compute, which on a GPU are a kernel each or
  several; views of a tensor are none;
- the waits: the operators after which a CPU waits for a GPU, because it needs a
  number from there, or copies one to it;
- the processor time in milliseconds, a median, and how it is shared out among
  kinds of operators. What is left is Python, autograd and the dispatcher.

"Cosine" is the softmax over cosines of all items, and "lists" is that with CKD
by `RRD`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from speed import distilled, load, prepared, stepper, task
from torch.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.data import HeteroData

from pyg_ckd.balance import RRD
from pyg_ckd.nn import (
    FREEDOM,
    MMGCN,
    SMORE,
    VBPR,
    Backbone,
    Cosine,
    LightGCN,
)
from pyg_ckd.objectives import Softmax
from pyg_ckd.train import Recommendation

BACKBONES = (VBPR, LightGCN, FREEDOM, MMGCN, SMORE)
#: Kinds of operators by parts of their names; the first that fits counts.
KINDS: Mapping[str, tuple[str, ...]] = {
    'Adam': ('adam',),
    'look-ups': ('embedding', 'index_select', 'gather'),
    'scatter': ('index', 'scatter'),
    'products': ('mm', 'bmm', 'linear', 'SpMM', '_sparse', 'csr', 'LightGCN'),
    'draws': ('rand', 'multinomial', 'exponential'),
    'sorts': ('sort', 'unique', 'topk', 'searchsorted', 'bincount', 'nonzero'),
    'copies': ('cat', 'stack', 'copy', 'clone', 'contiguous'),
    'fills': ('zero', 'fill', 'ones', 'empty', 'full', 'arange'),
    'sums': ('sum', 'mean', 'norm', 'softmax', 'logsumexp', 'prod', 'amax'),
    'element-wise': ('',),
}
#: What a CPU waits for a GPU after, by names of operators.
WAITS = (
    '_local_scalar_dense',
    '_unique2',
    'bincount',
    'is_nonzero',
    'lift_fresh',
    'masked_select',
    'nonzero',
    'unique_consecutive',
    'unique_dim',
)


def main() -> None:
    parser = argparse.ArgumentParser(description='Profile a step.')
    names = [backbone.__name__ for backbone in BACKBONES]
    parser.add_argument('--only', nargs='+', default=names, choices=names)
    kinds = ['plain', 'CKD', 'cosine', 'lists']
    parser.add_argument('--kinds', nargs='+', default=kinds, choices=kinds)
    parser.add_argument('--runs', type=int, default=15)
    parser.add_argument('--out', type=Path, help='JSON to write')
    args = parser.parse_args()
    data = load(argparse.Namespace(dataset=None))
    rows = []
    for backbone in BACKBONES:
        if backbone.__name__ in args.only:
            rows += profiled(backbone, data, args.kinds, args.runs)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + '\n')
    show(rows)


def profiled(
    backbone: type[Backbone],
    data: HeteroData,
    kinds: Sequence[str],
    runs: int,
) -> list[dict[str, Any]]:
    """Return a row for each kind of step of a backbone, timed in turn."""
    steps = steppers(backbone, data, kinds)
    times: dict[str, list[float]] = {kind: [] for kind in steps}
    for step in steps.values():
        step(), step()
    for _ in range(runs):
        for kind, step in steps.items():
            times[kind].append(processor_ms(step))
    rows = []
    for kind, step in steps.items():
        launches, waits = counted(step)
        rows.append(
            {
                'backbone': backbone.__name__,
                'step': kind,
                'launches': launches.total(),
                'waits': waits.total(),
                'ms': statistics.median(times[kind]),
                'shares': shares(step),
                'operators': dict(launches.most_common()),
                'waiting': dict(waits.most_common()),
            }
        )
    return rows


def steppers(
    backbone: type[Backbone], data: HeteroData, kinds: Sequence[str]
) -> dict[str, Callable[[], None]]:
    """Return a function for each kind of step."""
    base = task(backbone, prepared(backbone, data))
    cosine = Recommendation(Cosine(base.recommender), base.data, Softmax())
    made: dict[str, Callable[[], Recommendation]] = {
        'plain': lambda: base,
        'CKD': lambda: distilled(base),
        'cosine': lambda: cosine,
        'lists': lambda: distilled(cosine, on_random=RRD()),
    }
    return {kind: stepper(made[kind]()) for kind in kinds}


def counted(step: Callable[[], None]) -> tuple[Counter[str], Counter[str]]:
    """Return how often a step calls each operator, and which ones wait."""
    with Calls() as calls:
        step()
    launches: Counter[str] = Counter()
    waits: Counter[str] = Counter()
    for name, is_view, is_masked in calls.seen:
        if name in WAITS or is_masked:
            waits[name] += 1
        if not is_view:
            launches[name] += 1
    return launches, waits


class Calls(TorchDispatchMode):
    """Records operators: names, whether they are views, or look for places."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, bool, bool]] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = func.name().split('::')[-1].split('.')[0]
        returned = func._schema.returns
        is_view = name in HOST_ONLY or any(
            value.alias_info is not None and not value.alias_info.is_write
            for value in returned
        )
        # Booleans as an index, or rows to repeat whose number is not known:
        is_masked = (name in ('index', 'index_put', 'index_put_')) and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        is_masked |= name == 'repeat_interleave'
        self.seen.append((name, is_view, is_masked))
        return func(*args, **(kwargs or {}))


#: Operators that only describe a tensor, or make room for it.
HOST_ONLY = (
    '_sparse_csr_tensor_unsafe',
    '_sparse_compressed_tensor_unsafe',
    'detach',
    'empty',
    'empty_like',
    'empty_strided',
    '_record_function_enter_new',
    '_record_function_exit',
    'lift_fresh',
    'new_empty',
    'promote_types',
    'sparse_compressed_tensor',
    'new_empty_strided',
)


def shares(step: Callable[[], None], runs: int = 5) -> dict[str, float]:
    """Return the share of each kind of operator in a step's processor time."""
    total: Counter[str] = Counter()
    for _ in range(runs):
        with profile() as measured:
            start = time.perf_counter()
            step()
            total['all'] += int(1e6 * (time.perf_counter() - start))
        for event in measured.key_averages():
            kind = next(
                kind
                for kind, parts in KINDS.items()
                if any(part in event.key for part in parts)
            )
            total[kind] += int(event.self_cpu_time_total)
    whole = total.pop('all')
    found = {kind: total[kind] / whole for kind in KINDS}
    return {**found, 'rest': 1 - sum(found.values())}


def processor_ms(step: Callable[[], None]) -> float:
    start = time.process_time()
    step()
    return 1000 * (time.process_time() - start)


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows as a table."""
    table = Table('step', 'launches', 'waits', 'ms', *KINDS, 'rest')
    for row in rows:
        table.add_row(
            f'{row["backbone"]} {row["step"]}',
            str(row['launches']),
            str(row['waits']),
            f'{row["ms"]:.1f}',
            *(f'{share:.0%}' for share in row['shares'].values()),
        )
    Console(width=160).print(table)


if __name__ == '__main__':
    main()
