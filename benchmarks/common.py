"""What `ablation.py` and `missing.py` have in common with `pyg-ckd run`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable

from torch_geometric.transforms import BaseTransform

from pyg_ckd.experiments import Experiment, Method, Result, Store
from pyg_ckd.experiments.backbones import BACKBONES, BASELINES
from pyg_ckd.experiments.cli import arguments
from pyg_ckd.experiments.cli.output import messages
from pyg_ckd.experiments.cli.progress import GridDisplay
from pyg_ckd.experiments.cli.words import number_of
from pyg_ckd.experiments.data_sets import opener


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `pyg-ckd run` that count here, too."""
    taught = [name for name in BACKBONES if name not in BASELINES]
    arguments.add_dataset(parser)
    parser.add_argument(
        '--backbone', nargs='+', default=['VBPR'], choices=taught
    )
    parser.add_argument('--seed', nargs='+', default=[0, 1, 2], type=int)
    arguments.add_training(parser)
    arguments.add_folder(parser)


def experiment_of(
    args: Namespace, before: BaseTransform | None = None, folder: str = ''
) -> Experiment:
    """Return the experiment of arguments.

    Args:
        args: What :func:`add_arguments` added.
        before: A transform of the data that comes before all else.
        folder: Where results are, below the folder of the arguments.
    """
    store = Store(arguments.folder_of(args) / folder)
    experiment = arguments.experiment_of(args, store)
    experiment.open = opener(
        args.dataset, args.root, args.results / 'data', before
    )
    return experiment


def run_shown(
    experiment: Experiment, args: Namespace, methods: Iterable[Method]
) -> list[Result]:
    """Train what is not finished, show how far it is, and return results.

    A backbone that teaches others is not taught by itself once more.
    """
    methods = list(methods)
    planned = {
        (run.key, str(run)): run
        for backbone in args.backbone
        for run in experiment.plan(
            [backbone],
            [m for m in methods if m.teachers != backbone],
            args.seed,
        )
    }
    runs = list(planned.values())
    console = messages()
    with GridDisplay(console, runs, experiment.store) as display:
        total = number_of(len(display.keys), 'cell')
        console.print(
            f'{total}, {display.done} of them finished before; results in '
            f'{experiment.store.folder}'
        )
        return experiment.run(runs, display)


def status(results: Iterable[Result]) -> int:
    """Say which runs failed, and return the exit status."""
    failed = [result for result in results if result.error]
    for result in failed:
        messages().print(f"'{result.run}' failed: {result.error}")
    return 1 if failed else 0
