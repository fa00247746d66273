"""Measures steps and evaluations on a GPU against its limits and a CPU's.

    python benchmarks/gpu.py --out benchmarks/results/gpu.json

The graph is random, of the size of Amazon Baby with its published features:
19,445 users, 7,050 items, 118,551 interactions, 4,096 and 384 features. Limits
of the card are measured first, by a copy and by matrix products. Each time is
the median of several runs after a warm-up, with the device waited for.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from speed import BACKBONES, distilled, load, prepared, stepper
from torch import Tensor
from torch.profiler import DeviceType, ProfilerActivity, profile
from torch_geometric.data import HeteroData

from pyg_ckd.graph import modalities
from pyg_ckd.nn import (
    BM3,
    BPRMF,
    FREEDOM,
    MMGCN,
    SMORE,
    VBPR,
    Backbone,
    LightGCN,
)
from pyg_ckd.nn.door import matched
from pyg_ckd.ranking import evaluate
from pyg_ckd.train import Recommendation
from pyg_ckd.transforms import NormalizedAdjacency
from pyg_ckd.views import full

ALONE = (BM3, BPRMF)  # nothing in them that CKD could balance
ON_CPU = (VBPR, LightGCN, FREEDOM, MMGCN, SMORE)  # measured there as well
MEASURED = (*BACKBONES, *ALONE)
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description='Measure a GPU.')
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--out', type=Path, help='where to write JSON')
    parser.add_argument('--runs', type=int, default=15)
    names = [backbone.__name__ for backbone in MEASURED]
    parser.add_argument('--only', nargs='+', default=names, choices=names)
    args = parser.parse_args()
    device = torch.device(args.device)
    report: dict[str, Any] = {
        'device': name_of(device),
        'torch': torch.__version__,
        'threads': torch.get_num_threads(),
        'limits': limits(device, args.runs),
    }
    data = with_published_widths()
    report['products'] = products(data, device, report['limits'], args.runs)
    report['steps'] = []
    for backbone in MEASURED:
        if backbone.__name__ not in args.only:
            continue
        row = steps(backbone, data, device, args.runs)
        report['steps'].append(row)
        print(json.dumps(row), flush=True)
        if args.out:
            args.out.write_text(json.dumps(report, indent=1) + '\n')
    show(report)


def limits(device: torch.device, runs: int) -> dict[str, float]:
    """Return what the device reaches: GB/s of a copy, TFLOP/s of products."""
    on_gpu = device.type == 'cuda'
    source = torch.rand(2**28 if on_gpu else 2**24, device=device)
    target = torch.empty_like(source)
    copied = seconds(lambda: target.copy_(source), device, runs)
    found = {'copy GB/s': 8 * source.numel() / copied / 1e9}
    size = 8192 if on_gpu else 1024
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(size, size, device=device, dtype=dtype)
        b = torch.randn(size, size, device=device, dtype=dtype)
        took = seconds(
            functools.partial(torch.matmul, a, b), device, min(runs, 5)
        )
        found[f'{dtype} TFLOP/s'.removeprefix('torch.')] = (
            2 * size**3 / took / 1e12
        )
    return found


def products(
    data: HeteroData, device: torch.device, limit: dict[str, float], runs: int
) -> list[Row]:
    """Return how near to the limits the two products of a step come.

    Bytes are the fewest that have to move: each input read once and each
    output written once. Gathered bytes count a row for each edge.
    """
    rows = []
    transform = NormalizedAdjacency('symmetric', add_self_loops=False)
    graph = transform.of(transform(data.clone())).to(device)
    num_nodes = sum(data[kind].num_nodes for kind in ('user', 'item'))
    num_edges = 2 * data['user', 'rates', 'item'].edge_index.size(1)
    for dim in (64, 256):
        x = torch.randn(num_nodes, dim, device=device)
        took = seconds(functools.partial(graph.propagate, x), device, runs)
        fewest = num_edges * 12 + 2 * x.numel() * 4
        gathered = num_edges * (12 + 4 * dim) + x.numel() * 4
        rows.append(
            {
                'what': f'a layer of LightGCN, dim {dim}',
                'ms': 1000 * took,
                'fewest bytes GB/s': fewest / took / 1e9,
                'gathered GB/s': gathered / took / 1e9,
                'share of the copy': gathered / took / 1e9 / limit['copy GB/s'],
            }
        )
    image = data['item'].x_image.to(device)
    for dtype in (torch.float32, torch.bfloat16):
        x = image.to(dtype)
        weight = torch.randn(64, x.size(1), device=device, dtype=dtype)
        out = torch.randn(len(x), 64, device=device, dtype=dtype)
        for name, product in (
            ('forward', lambda x=x, w=weight: x @ w.t()),
            ('backward', lambda x=x, o=out: o.t() @ x),
        ):
            took = seconds(product, device, runs)
            rate = 2 * x.numel() * 64 / took / 1e12
            moved = (x.numel() + weight.numel() + out.numel()) * x.itemsize
            kind = str(dtype).removeprefix('torch.')
            rows.append(
                {
                    'what': f'features [7050, 4096] to 64, {name}, {kind}',
                    'ms': 1000 * took,
                    'fewest bytes GB/s': moved / took / 1e9,
                    'share of the copy': (
                        moved / took / 1e9 / limit['copy GB/s']
                    ),
                    'TFLOP/s': rate,
                    'share of the product': rate / limit[f'{kind} TFLOP/s'],
                }
            )
    return rows


def steps(
    backbone: type[Backbone],
    data: HeteroData,
    device: torch.device,
    runs: int,
) -> Row:
    """Return times of a backbone: of a step, of one with CKD, to evaluate."""
    own = prepared(backbone, data)
    row: Row = {'backbone': backbone.__name__}
    places = [device]
    if backbone in ON_CPU and device.type == 'cuda':
        places.append(torch.device('cpu'))
    for place in places:
        base = on(place, backbone, own)
        step = stepper(base)
        few = runs if place.type == 'cuda' else 2
        where = 'GPU' if place.type == 'cuda' else 'CPU'
        if place.type == 'cuda':
            torch.cuda.reset_peak_memory_stats()
        row[f'{where} plain ms'] = 1000 * seconds(step, place, few)
        if backbone not in ALONE:
            student = distilled(base)
            taught = stepper(student)
            row[f'{where} CKD ms'] = 1000 * seconds(taught, place, few)
            if place.type == 'cuda':
                row['share of kernels'] = busy(taught)
        if place.type == 'cuda':
            row['peak GB'] = torch.cuda.max_memory_allocated() / 1e9
        row[f'{where} evaluation ms'] = 1000 * seconds(
            functools.partial(
                evaluate,
                base.model,
                base.data,
                'val',
                ks=(20,),
                metrics=('recall',),
            ),
            place,
            few,
        )
    return row


def on(
    device: torch.device, backbone: type[Backbone], data: HeteroData
) -> Recommendation:
    """Return a training on a device, in the middle of an epoch."""
    torch.manual_seed(0)
    model = backbone.from_data(data).to(device)
    there = matched(data, model)
    model.start_epoch(there, full(modalities(data)))
    return Recommendation(model, there)


def busy(step: Callable[[], None]) -> float:
    """Return the share of some steps in which a kernel runs."""
    torch.cuda.synchronize()
    with profile(
        activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]
    ) as measured:
        for _ in range(5):
            step()
        torch.cuda.synchronize()
    # Not the events of operators, which have the times of their kernels, too:
    kernels = sum(
        event.self_device_time_total
        for event in measured.key_averages()
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    )
    plain = sum(time_of(step) for _ in range(5))
    return kernels / 1e6 / plain


def seconds(
    function: Callable[[], Tensor | object | None],
    device: torch.device,
    runs: int,
) -> float:
    """Return the median time of a function, after two calls to warm up."""
    function(), function()
    wait(device)
    return statistics.median(time_of(function, device) for _ in range(runs))


def time_of(
    function: Callable[[], object], device: torch.device | None = None
) -> float:
    start = time.perf_counter()
    function()
    wait(device or torch.device('cuda'))
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize()


def with_published_widths() -> HeteroData:
    """Return random data of the size of Baby, as wide as it is published."""
    data = load(argparse.Namespace(dataset=None))
    generator = torch.Generator().manual_seed(1)
    for name, width in (('image', 4_096), ('text', 384)):
        data['item'][f'x_{name}'] = torch.randn(
            7_050, width, generator=generator
        )
    return data


def name_of(device: torch.device) -> str:
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return str(device)


def show(report: dict[str, Any]) -> None:
    """Print the report as tables."""
    console = Console(width=180)
    console.print(report['device'], report['limits'])
    for key in ('products', 'steps'):
        rows = report[key]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = Table(*columns, title=key)
        for row in rows:
            table.add_row(*(_text(row.get(name)) for name in columns))
        console.print(table)


def _text(value: object) -> str:
    if value is None:
        return ''
    return f'{value:.3g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
    main()
