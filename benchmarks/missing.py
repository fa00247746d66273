"""What CKD gains when items lose a modality, or when its features are noisy.

    python benchmarks/missing.py
    python benchmarks/missing.py --dataset baby --root data --modality image \
        --pattern tail --level 0 0.3 0.6 0.9 --seed 0

A level is the share of items that lose the modality, at random or those with
the fewest interactions, or the size of the noise in standard deviations of each
feature. Base, teachers and students are trained anew at each level. Results of
a level are in a folder of its own, those without loss or noise in the folder of
the data set, and nothing is trained again that is there. It ends with a table
of gains at each level and a plot.
"""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from typing import Literal

from common import add_arguments, experiment_of, run_shown, status
from torch_geometric.transforms import BaseTransform

from pyg_ckd.experiments import METHODS, Result
from pyg_ckd.experiments.cli.arguments import folder_of
from pyg_ckd.experiments.cli.output import tables
from pyg_ckd.experiments.cli.table import terminal_table
from pyg_ckd.experiments.plots import plot_levels
from pyg_ckd.transforms import MissingModality, NoisyModality

SHARES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
LEVELS = {
    'random': SHARES,
    'tail': SHARES,
    'noise': [0.0, 0.5, 1.0, 2.0, 4.0],
}
LABELS = {
    'random': 'share of items without {}, at random',
    'tail': 'share of items without {}, the least popular ones',
    'noise': 'noise in {}, standard deviations',
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Missing and noisy items.')
    add_arguments(parser)
    parser.add_argument('--modality', default='image')
    parser.add_argument('--pattern', default='random', choices=LEVELS)
    parser.add_argument('--level', nargs='+', type=float)
    args = parser.parse_args(argv)
    methods = [METHODS[name] for name in ('base', 'teachers', 'ckd')]
    runs: dict[float, list[Result]] = {}
    for level in args.level or LEVELS[args.pattern]:
        name = f'{args.modality}-{args.pattern}-{level:g}' if level else ''
        transform = transform_of(args.pattern, args.modality, level)
        experiment = experiment_of(args, before=transform, folder=name)
        runs[level] = run_shown(experiment, args, methods)

    label = LABELS[args.pattern].format(args.modality)
    for level, results in runs.items():
        title = f'{args.dataset}, test, {label}: {level:g}'
        tables().print(terminal_table(results, title))
    for backbone in args.backbone:
        own = {
            level: [
                result
                for result in results
                if result.run.backbone == backbone and not result.error
            ]
            for level, results in runs.items()
        }
        name = f'{args.modality}-{args.pattern}-{backbone}.png'
        path = folder_of(args) / name
        plot_levels(own, label).savefig(path, dpi=150)
        tables().print(f'Plot: {path}', soft_wrap=True)
    return status(chain(*runs.values()))


def transform_of(
    pattern: Literal['random', 'tail', 'noise'], modality: str, level: float
) -> BaseTransform | None:
    """Return what takes a modality away, or adds noise to it."""
    if level == 0:
        return None
    if pattern == 'noise':
        return NoisyModality(modality, level)
    return MissingModality(modality, level, pattern)


if __name__ == '__main__':
    sys.exit(main())
