"""Write SPEED.md from the measurements that are kept in this repository.

    python benchmarks/speed_page.py

In `results/` are `speed.json`, as `speed.py --out` writes it, `gpu.json` of
`gpu.py`, `scale.json` of `scale.py` and `ddp.json`, which holds the table of
`docs/cluster.md`. What the page says follows from them by rules.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gpu import MEASURED
from scale import COLUMNS, LIMIT, exponent, shown
from speed import STUDIES, figures_of, read

from pyg_ckd.datasets.raw.files import open_atomic

FOLDER = Path(__file__).with_name('results')
PAGE = Path(__file__).with_name('SPEED.md')
HEAD = """\
# Speed

Made by `python benchmarks/speed_page.py`; do not edit. Figures of a CPU are
ratios of two things done in turn: the median, and between what half of them
lie. *MISSED* is what a target asks for and we do not reach.
"""
#: The largest exponent that growth may have.
GROWTH = 1.05
Row = dict[str, Any]


def page(folder: Path) -> str:
    """Return the page of a folder of measurements."""
    parts = [HEAD.strip()]
    parts += cpu(read(folder / 'speed.json'))
    parts += gpu(load(folder / 'gpu.json'))
    parts += growth(load(folder / 'scale.json'))
    parts += processes(load(folder / 'ddp.json'))
    return '\n\n'.join(parts) + '\n'


def load(path: Path) -> Any:
    try:
        return json.loads(path.read_text('utf-8'))
    except (OSError, ValueError) as error:
        raise SystemExit(f"'{path}' cannot be read: {error}") from error


def cpu(report: dict[str, Any]) -> list[str]:
    """Return what `speed.py` has measured."""
    figures = [f for study in report.values() for f in figures_of(study)]
    verdicts = [figure.verdict() for figure in figures]
    missed = [f'- {f.what}' for f in figures if f.verdict() == 'MISSED']
    met, aims = verdicts.count('met'), len(verdicts) - verdicts.count('')
    parts = ['## A CPU: `speed.py`', f'Targets met: {met} of {aims}.']
    if missed:
        parts += ['Missed:', '\n'.join(missed)]
    absent = [name for name in STUDIES if name not in report]
    if absent:
        parts.append(f'Not measured: {", ".join(absent)}.')
    for name in STUDIES:
        if name not in report:
            continue
        about = (STUDIES[name].__doc__ or '').split('\n')[0]
        known = report[name]['environment']
        parts += [
            f'### {name}',
            wrapped(
                f'{about} Measured on {known["date"]} in {threads(known)}, '
                f'on {known["cores"]} cores with a load of {known["load"]}; '
                f'torch {known["torch"]}; data: {known["data"]}.'
            ),
            table(
                ['what', 'measured', 'half of all', 'target', ''],
                [figure.cells() for figure in figures_of(report[name])],
            ),
        ]
    return parts


def threads(known: Row) -> str:
    many = known['threads']
    return '1 thread' if many == 1 else f'{many} threads'


def gpu(report: Row) -> list[str]:
    """Return what `gpu.py` has measured, and what that says."""
    steps, limit = report['steps'], report['limits']
    taught = [row for row in steps if 'GPU CKD ms' in row]
    costs = [row['GPU CKD ms'] / row['GPU plain ms'] for row in taught]
    parts = [
        '## A GPU: `gpu.py`',
        wrapped(
            f'{report["device"]}, torch {report["torch"]}. The CPU beside it '
            f'has {threads(report)}. Random data of the size of Amazon Baby, '
            'features 4,096 and 384 wide. The card copies '
            f'{limit["copy GB/s"]:,.0f} GB/s and multiplies '
            f'{limit["float32 TFLOP/s"]:.0f} TFLOP/s in float32 and '
            f'{limit["bfloat16 TFLOP/s"]:.0f} in bfloat16.'
        ),
        wrapped(
            f'A step with CKD takes {span(costs)} plain ones. {kernels(taught)}'
        ),
    ]
    absent = [b.__name__ for b in MEASURED]
    absent = [n for n in absent if n not in {r['backbone'] for r in steps}]
    if absent:
        parts.append(f'Not measured: {", ".join(absent)}.')
    if 'note' in report:
        parts.append(wrapped(report['note']))
    parts += [
        table(
            [
                'step, ms',
                'plain',
                'CKD',
                'CKD / plain',
                'kernels run',
                'evaluation',
                'peak, GB',
                'CPU: plain',
                'CKD',
                'evaluation',
                'CPU / GPU: plain',
                'CKD',
                'evaluation',
            ],
            [gpu_step(row) for row in steps],
        ),
        wrapped(
            'The two products of a step, beside what the card can. Bytes are '
            'those of the rows that edges gather, or, of features, the fewest '
            'that have to move. Times include the launch, and waiting for the '
            'end.'
        ),
        table(
            ['product', 'ms', 'GB/s', 'of a copy', 'TFLOP/s', 'of a product'],
            [product(row) for row in report['products']],
        ),
        wrapped(in_words(report['products'])),
    ]
    return parts


def kernels(steps: Sequence[Row]) -> str:
    """Return how long kernels run in a step, in words."""
    shares = {row['backbone']: row['share of kernels'] for row in steps}
    longest = max(shares, key=shares.__getitem__)
    others = [share for name, share in shares.items() if name != longest]
    text = f'{longest} {percent([shares[longest]])}'
    if others:
        text = f'{percent(others)}, of {text}'
    text = f'Kernels run for {text}'
    if max(shares.values()) < 0.5:
        text += (
            ': most of a step is the CPU that launches them, and what CKD adds '
            'is launches more than arithmetic'
        )
    return f'{text}.'


def gpu_step(row: Row) -> list[str]:
    def ms(name: str) -> str:
        return f'{row[name]:.1f}' if name in row else ''

    def times(top: str, bottom: str) -> str:
        known = top in row and bottom in row
        return f'{row[top] / row[bottom]:.1f}' if known else ''

    share = row['share of kernels']
    return [
        row['backbone'],
        ms('GPU plain ms'),
        ms('GPU CKD ms'),
        times('GPU CKD ms', 'GPU plain ms'),
        percent([share]) if share else '',
        ms('GPU evaluation ms'),
        f'{row["peak GB"]:.2f}',
        *(ms(f'CPU {what} ms') for what in ('plain', 'CKD', 'evaluation')),
        *(
            times(f'CPU {what} ms', f'GPU {what} ms')
            for what in ('plain', 'CKD', 'evaluation')
        ),
    ]


def product(row: Row) -> list[str]:
    rate = row.get('gathered GB/s', row['fewest bytes GB/s'])
    flops = 'TFLOP/s' in row
    return [
        row['what'],
        f'{row["ms"]:.3f}',
        f'{rate:,.0f}',
        percent([row['share of the copy']]),
        f'{row["TFLOP/s"]:.1f}' if flops else '',
        percent([row['share of the product']]) if flops else '',
    ]


def in_words(products: Sequence[Row]) -> str:
    """Return what the shares say."""
    layers = [r['share of the copy'] for r in products if 'TFLOP/s' not in r]
    share = {
        kind: percent(
            row['share of the product']
            for row in products
            if row['what'].endswith(f' {kind}')
        )
        for kind in ('float32', 'bfloat16')
    }
    moved = percent(
        row['share of the copy'] for row in products if 'TFLOP/s' in row
    )
    return (
        f'A layer reaches {percent(layers)} of the bandwidth, more where it is '
        'wider; rows that were gathered before may come from a cache. Features '
        f'reach {share["float32"]} of the arithmetic in float32 and '
        f'{share["bfloat16"]} in bfloat16, with {moved} of the bandwidth.'
    )


def growth(rows: list[Row]) -> list[str]:
    """Return what `scale.py` has measured, with exponents."""
    lines, verdicts = [], []
    for what in dict.fromkeys(row['what'] for row in rows):
        group = [row for row in rows if row['what'] == what]
        group.sort(key=lambda row: row['users'])
        for row in group:
            values = [shown(row.get(name)) for name in COLUMNS]
            ended = f', ended: {row["ended"]}' if 'ended' in row else ''
            lines.append([what + ended, f'{row["users"]:,}', *values])
        powers = {name: exponent(group, name) for name in list(COLUMNS)[1:]}
        texts = ['' if p is None else f'{p:.2f}' for p in powers.values()]
        if any(texts):
            lines.append([f'*{what}, exponent*', '', '', *texts])
        power = powers['large_epoch']
        if power is not None:
            sizes = len([row for row in group if row.get('large_epoch')])
            verdict = 'met' if power <= GROWTH else 'MISSED'
            verdicts.append(
                f'- {what}: {power:.2f}, of {sizes} sizes: {verdict}'
            )
    most = max(row.get('peak', 0) for row in rows)
    verdict = 'met' if most <= LIMIT else 'MISSED'
    return [
        '## Growth: `scale.py`',
        wrapped(
            'Processor time of one thread, in which other work on the machine '
            'shows little. A *large* step has a fiftieth of all interactions. '
            'Exponents are those of a power of the interactions; of the epoch '
            f'of large steps {GROWTH} at most is the target:'
        ),
        '\n'.join(verdicts),
        wrapped(
            f'Peak memory is {most:.1f} GB at most, of {LIMIT:.0f} GB: '
            f'{verdict}. The rows are not complete: sizes that are missing '
            'have not been measured, and an exponent of two sizes is no fit.'
        ),
        wrapped(
            'Exponents are above 1 for two reasons. Tables outgrow the caches, '
            'and a row that comes from memory takes longer: *caches* above has '
            'by how much. And MGCN and SMORE contrast all entries of a batch '
            'with each other, by the square of a batch that grows with the '
            'shop; with a fixed batch, see *step, ms*, they do not.'
        ),
        table(['what', 'users', *COLUMNS.values()], lines),
    ]


def processes(rows: list[Row]) -> list[str]:
    """Return what `ddp.py` has measured."""
    faster = [row for row in rows if row['wall'] > 1]
    return [
        '## Two processes: `ddp.py`',
        wrapped(
            'How many times faster two processes of one thread take a step '
            'than one, by wall time on a busy machine of two cores, and by '
            'processor time, which is what free cores would bring at most: '
            f'{len(faster)} of {len(rows)} are faster by wall time. '
            'Evaluation takes all users, whatever the batch. '
            '[Several machines](../docs/cluster.md) says why.'
        ),
        table(
            ['step', 'triples', 'wall time', 'processor time'],
            [
                [
                    row['what'],
                    f'{row["batch"]:,}',
                    f'{row["wall"]:.2f}',
                    f'{row["processor"]:.2f}',
                ]
                for row in rows
            ],
        ),
    ]


def span(values: Iterable[float]) -> str:
    values = list(values)
    return f'{min(values):.1f} to {max(values):.1f}'


def percent(values: Iterable[float]) -> str:
    values = [100 * value for value in values]
    low, high = f'{min(values):.0f}', f'{max(values):.0f}'
    return f'{low} %' if low == high else f'{low} to {high} %'


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [names, ['---'] * len(names), *rows]
    return '\n'.join(f'| {" | ".join(row)} |' for row in cells)


def wrapped(text: str) -> str:
    return textwrap.fill(
        text.strip(), 80, break_long_words=False, break_on_hyphens=False
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--folder', type=Path, default=FOLDER)
    parser.add_argument('--out', type=Path, default=PAGE)
    args = parser.parse_args(argv)
    text = page(args.folder)
    with open_atomic(args.out) as file:
        file.write(text.encode())
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
