"""Does the service answer rightly, always, and how fast?

    python benchmarks/soak.py
    python benchmarks/soak.py --items 1000000 --requests 20000
    python benchmarks/soak.py --items 1000000 --requests 20000 --probe 32

Starts `pyg-ckd serve` as its users do, on random embeddings, and asks it over
loopback from several threads, while another model takes the place of the one
before now and then. Each answer is compared with what one of the two models
recommends exactly; of an approximate index the share of the exact items is
told instead. It ends with requests per second, the median and the 99th
percentile of the time of a request, and the memory of the service.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES
from pyg_ckd.nn import FixedEmbeddings
from pyg_ckd.serving import load, save

K = 10


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='A soak of the service.')
    parser.add_argument('--items', default=20_000, type=int)
    parser.add_argument('--users', default=20_000, type=int)
    parser.add_argument('--dim', default=64, type=int)
    parser.add_argument('--requests', default=100_000, type=int)
    parser.add_argument('--threads', default=8, type=int)
    parser.add_argument(
        '--asked', default=1000, type=int, help='users asked for'
    )
    parser.add_argument('--reload', default=30.0, type=float, help='seconds')
    parser.add_argument('--probe', type=int, help='of an approximate index')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # as the service has it
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, 'model')
        data = graph_of(args.users, args.items)
        models = [embeddings_of(args, seed) for seed in (0, 1)]
        rightly: list[list[Any]] = []
        for model in reversed(models):
            save(model, data, folder)
            served = load(folder)
            # One by one, as products of many rows differ in the last bit:
            rightly.append(
                [served.recommend([user], K)[0] for user in range(args.asked)]
            )
        with Service(folder, args.probe) as service:
            found = soak(args, service, rightly, models, data, folder)
    report(args, found)
    return 1 if found['wrong'] or found['failed'] else 0


def graph_of(num_users: int, num_items: int) -> HeteroData:
    """Return a graph in which each user has ten items."""
    generator = torch.Generator().manual_seed(0)
    user = torch.arange(num_users).repeat_interleave(10)
    item = torch.randint(num_items, (len(user),), generator=generator)
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = num_users, num_items
    data[RATES].edge_index = torch.stack([user, item])
    return data


def embeddings_of(args: argparse.Namespace, seed: int) -> FixedEmbeddings:
    """Return random embeddings; items lie in clusters, as in real ones."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(1000, args.dim, generator=generator)
    which = torch.randint(1000, (args.items,), generator=generator)
    item = centre[which]
    item += 0.5 * torch.randn(args.items, args.dim, generator=generator)
    user = torch.randn(args.users, args.dim, generator=generator)
    return FixedEmbeddings(user, item)


class Service:
    """The service in a process of its own, until the end of a block."""

    def __init__(self, folder: Path, probe: int | None) -> None:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, '-m', 'pyg_ckd', 'serve', str(folder)]
        command += ['--port', str(self.port)]
        command += ['--probe', str(probe)] if probe else []
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Service:
        until = time.monotonic() + 600
        while True:
            try:
                connection = http.client.HTTPConnection('127.0.0.1', self.port)
                connection.request('GET', '/health')
                connection.getresponse().read()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def __exit__(self, *args: object) -> None:
        self.process.terminate()
        self.process.wait()

    def memory(self) -> float:
        """Return what it holds, in MB."""
        path = Path('/proc', str(self.process.pid), 'status')
        lines = path.read_text().splitlines()
        line = next(line for line in lines if line.startswith('VmRSS'))
        return int(line.split()[1]) / 1024


def soak(
    args: argparse.Namespace,
    service: Service,
    rightly: list[list[Any]],
    models: list[FixedEmbeddings],
    data: HeteroData,
    folder: Path,
) -> dict[str, Any]:
    """Ask, compare and measure."""
    times: list[float] = []
    shares: list[float] = []
    wrong = failed = reloads = 0
    lock, over = Lock(), Event()
    memory = [service.memory()]

    def ask(number: int) -> None:
        nonlocal wrong, failed
        draw = random.Random(number)
        connection = http.client.HTTPConnection('127.0.0.1', service.port)
        for _ in range(args.requests // args.threads):
            user = draw.randrange(args.asked)
            begin = time.perf_counter()
            try:
                connection.request('GET', f'/recommend?user={user}&k={K}')
                answer = connection.getresponse()
                body = json.loads(answer.read())
            except (OSError, ValueError):
                connection.close()
                body, answer = None, None
            spent = time.perf_counter() - begin
            with lock:
                times.append(spent)
                if answer is None or answer.status != 200:
                    failed += 1
                    continue
                pairs = [(x['item'], x['score']) for x in body[0]['items']]
                if args.probe:
                    found = {item for item, _ in pairs}
                    best = max(
                        len(found & {item for item, _ in one[user]})
                        for one in rightly
                    )
                    shares.append(best / K)
                elif all(pairs != one[user] for one in rightly):
                    wrong += 1

    def change() -> None:
        nonlocal reloads
        while not over.wait(args.reload):
            save(models[reloads % 2], data, folder)
            reloads += 1
            memory.append(service.memory())

    begin = time.perf_counter()
    with ThreadPoolExecutor(args.threads + 1) as pool:
        changing = pool.submit(change)
        asking = [pool.submit(ask, number) for number in range(args.threads)]
        for each in asking:
            each.result()
        over.set()
        changing.result()
    memory.append(service.memory())
    return {
        'seconds': time.perf_counter() - begin,
        'times': sorted(times),
        'wrong': wrong,
        'failed': failed,
        'reloads': reloads,
        'memory': memory,
        'share': statistics.fmean(shares) if shares else None,
    }


def report(args: argparse.Namespace, found: dict[str, Any]) -> None:
    """Print what was found."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, show_header=False)
    times, memory = found['times'], found['memory']
    index = f'{args.probe} cells' if args.probe else 'exact'
    rows = {
        'items, index': f'{args.items:,}, {index}',
        'requests, threads': f'{len(times):,}, {args.threads}',
        'wrong answers, errors': f'{found["wrong"]}, {found["failed"]}',
        'reloads': str(found['reloads']),
        'requests per second': f'{len(times) / found["seconds"]:.0f}',
        'p50, p99': f'{1e3 * times[len(times) // 2]:.1f} ms, '
        f'{1e3 * times[int(0.99 * len(times))]:.1f} ms',
        'memory, MB': f'{memory[0]:.0f} at first, '
        f'{memory[len(memory) // 2]:.0f} half way, {memory[-1]:.0f} at last',
    }
    if found['share'] is not None:
        rows['share of exact items'] = f'{found["share"]:.4f}'
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


if __name__ == '__main__':
    sys.exit(main())
