"""What CKD gains when items lose a modality, or when its features are noisy.

    python benchmarks/missing.py
    python benchmarks/missing.py --dataset baby --root data --modality image \
        --pattern tail --level 0 0.3 0.6 0.9 --seed 0

A level is the share of items that lose the modality, at random or those with
the fewest interactions, or the size of the noise in standard deviations of each
feature. Base, teachers and students are trained anew at each level, and kept
and resumed as by `run_all.py`. It ends with a table of gains at each level and
a plot.
"""

from __future__ import annotations

import argparse

from rich.console import Console
from run_all import (
    BACKBONES,
    METHODS,
    Benchmark,
    add_arguments,
    run_cells,
    terminal_table,
)
from torch_geometric.transforms import BaseTransform

from pyg_ckd.analysis import Result, plot_levels, summarize
from pyg_ckd.transforms import MissingModality, NoisyModality

LEVELS = {
    'random': [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    'tail': [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    'noise': [0.0, 0.5, 1.0, 2.0, 4.0],
}
LABELS = {
    'random': 'share of items without {}, at random',
    'tail': 'share of items without {}, the least popular ones',
    'noise': 'noise in {}, standard deviations',
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description='Missing and noisy items.')
    add_arguments(parser, backbones=BACKBONES, default=['VBPR'])
    parser.add_argument('--modality', default='image')
    parser.add_argument('--pattern', default='random', choices=LEVELS)
    parser.add_argument('--level', nargs='+', type=float)
    parser.set_defaults(method=METHODS)
    args = parser.parse_args(argv)
    folder = args.results / (args.run or args.dataset)
    console = Console()
    runs: dict[float, list[Result]] = {}
    for level in args.level or LEVELS[args.pattern]:
        runs[level] = run_level(args, level, console)

    label = LABELS[args.pattern].format(args.modality)
    for level, results in runs.items():
        title = f'{args.dataset}, test, {label}: {level:g}'
        console.print(terminal_table(summarize(results), title))
    for backbone in args.backbone:
        own = {
            level: [run for run in results if run.backbone == backbone]
            for level, results in runs.items()
        }
        path = folder / f'{args.modality}-{args.pattern}-{backbone}.png'
        plot_levels(own, label).savefig(path, dpi=150)
        console.print(f'Plot: {path}')


def run_level(
    args: argparse.Namespace, level: float, console: Console
) -> list[Result]:
    """Train all there is at one level, in a folder of its own."""
    folder = args.results / (args.run or args.dataset)
    transform: BaseTransform | None = None
    if level > 0:
        folder /= f'{args.modality}-{args.pattern}-{level:g}'
        if args.pattern == 'noise':
            transform = NoisyModality(args.modality, level)
        else:
            transform = MissingModality(args.modality, level, args.pattern)
    folder.mkdir(parents=True, exist_ok=True)
    bench = Benchmark(args, folder, transform=transform)
    cells = list(bench.cells())
    run_cells(bench, cells, console)
    return [bench.finished[bench.key(cell)] for cell in cells]


if __name__ == '__main__':
    main()
