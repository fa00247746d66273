"""``pyg-ckd run``: train what is not finished, and compare."""

from __future__ import annotations

import math
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from pyg_ckd.experiments.cli.arguments import (
    add_dataset,
    add_folder,
    add_json,
    add_objective,
    add_parser,
    add_training,
    experiment_of,
    method_of,
    store_of,
)
from pyg_ckd.experiments.cli.output import messages, tables, write_json
from pyg_ckd.experiments.names import BACKBONES, METHODS, QUICK

if TYPE_CHECKING:
    from pyg_ckd.experiments import Experiment, Result, Run

EPILOG = """\
examples:
  pyg-ckd run
  pyg-ckd run --dataset baby --backbone VBPR FREEDOM --method base ckd
  pyg-ckd run --dataset baby --backbone VBPR --method base ogm-ge agm umt ckd
  pyg-ckd run --dataset baby --backbone VBPR --objective Softmax --run softmax

A cell of the grid is a backbone, a method and a seed. Each is kept in
FOLDER/NAME as soon as it is finished, and is not trained again: the same
command goes on where it stopped, to the epoch of the last evaluation. A cell
is another one when its settings, its data or the version of the library
change. To begin anew, name another folder by --run. A cell that fails is kept
with its reason, and the others go on; --retry tries it again. The page shows
the cells of this command; `pyg-ckd report FOLDER` those of all.

To share a grid, start the same command several times on one folder, on one
machine or on several with a shared file system that has locks (NFS 4, Lustre,
GPFS). Each cell is trained by one of them, and all end with the whole table.
As a job array of SLURM, `sbatch grid.sh`:

  #!/bin/sh
  #SBATCH --array=1-4
  #SBATCH --gres=gpu:1
  #SBATCH --time=8:00:00
  srun pyg-ckd run --dataset baby --root /shared/data --results /shared/results

A job that runs out of time loses nothing but the epochs since its last
evaluation: submit it again.
"""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = add_parser(
        commands,
        'run',
        help='train recommenders, compare them, and write a page',
        description='Train recommenders by several methods, compare them, and '
        'write a page.\nWithout arguments it trains on a synthetic data set, '
        'in a few minutes.',
        epilog=EPILOG,
        after_interrupt='; the same command goes on where it stopped',
    )
    add = parser.add_argument
    add_dataset(parser)
    add(
        '--backbone',
        nargs='+',
        default=QUICK,
        choices=BACKBONES,
        metavar='NAME',
        help=f'of {", ".join(BACKBONES)}; the first six are baselines, of '
        f'which there is only the base (default: {" ".join(QUICK)})',
    )
    add(
        '--method',
        nargs='+',
        default=('base', 'teachers', 'ckd'),
        choices=METHODS,
        metavar='NAME',
        help=f'of {", ".join(METHODS)} (default: base teachers ckd)',
    )
    add_objective(parser)
    add(
        '--seed',
        nargs='+',
        default=(0, 1, 2),
        type=int,
        metavar='N',
        help='(default: 0 1 2)',
    )
    add_training(parser)
    add_folder(parser)
    add('--note', default='', help='a remark for the page')
    add(
        '--resume',
        action='store_true',
        help='go on where it stopped, which it does anyway',
    )
    add(
        '--retry',
        action='store_true',
        help='train cells again that failed before, or lost their embeddings',
    )
    add(
        '--save',
        action='store_true',
        help='save the models of bases and students, for `pyg-ckd serve '
        'FOLDER/NAME/models/KEY`; cells that were finished without are trained '
        'again',
    )
    add_json(parser, 'the table, all runs and the path of the page')
    parser.set_defaults(call=call)


def call(args: Namespace) -> int:
    """Train, compare, and write a page."""
    from pyg_ckd.experiments.backbones import BASELINES
    from pyg_ckd.experiments.cli.progress import GridDisplay
    from pyg_ckd.experiments.cli.words import number_of
    from pyg_ckd.graph import modalities

    console, store = messages(), store_of(args)
    experiment = experiment_of(args, store)
    experiment.save = args.save
    backbones = sorted(args.backbone, key=lambda name: name not in BASELINES)
    methods = [method_of(name, args.objective) for name in args.method]
    runs = experiment.plan(backbones, methods, args.seed)
    names = modalities(experiment.data())
    of_several = [name for name in args.method if name != 'base']
    if len(names) < 2 and of_several:
        text = (
            f"'{args.dataset}' has {' '.join(names) or 'none'} as its only "
            f'modality, and {", ".join(of_several)} needs two'
        )
        if not runs:
            raise ValueError(f'{text}; nothing to run')
        console.print(f'{text}: left out')
    if not runs:
        raise ValueError(
            "'--method' needs to have 'base' for baselines (got "
            f'{" ".join(args.method)}); nothing to run'
        )
    alone = [name for name in backbones if name in BASELINES]
    if alone and list(args.method) != ['base']:
        console.print(
            f'Only the base is run of {", ".join(alone)}: they have no '
            f'parameters, or scores that do not depend on features'
        )

    failed = {result.run.key for result in store.results() if result.error}
    again = failed if args.retry else set()
    with GridDisplay(console, runs, store, again) as display:
        total = number_of(len(display.keys), 'cell')
        console.print(
            f'{total}, {display.done} of them finished before; results in '
            f'{store.folder}'
        )
        results = experiment.run(runs, display, retry=args.retry)
    return _finish(args, experiment, runs, results)


def _finish(
    args: Namespace,
    experiment: Experiment,
    runs: list[Run],
    results: list[Result],
) -> int:
    """Show what came out, and return the exit status."""
    from pyg_ckd.experiments import report, summarize
    from pyg_ckd.experiments.cli.table import terminal_table
    from pyg_ckd.experiments.tables import best_bases_of, comparisons

    store = experiment.store
    ended = {result.run.key for result in results}
    failed = {
        str(result.run): result.error for result in results if result.error
    }
    for run in runs:
        if run.key not in ended:
            failed[str(run)] = 'it was not run, as a teacher failed'
    against = comparisons(results)
    against_best = comparisons(results, bases=best_bases_of(results))
    about = experiment.about()
    page = report(
        results,
        store.folder / 'report.html',
        title=f'Recommenders on {args.dataset}',
        about=[*about, args.note] if args.note else about,
        data=experiment.data(),
        problems=store.problems,
        against=against,
        against_best=against_best,
    )
    if args.json:
        write_json(
            {
                'table': summarize(
                    results, against=against, against_best=against_best
                ),
                'comparisons': [
                    {
                        'backbone': backbone,
                        'method': method,
                        'outcome': each.outcome,
                        'gain': _finite(each.gain),
                        'low': _finite(each.low),
                        'high': _finite(each.high),
                        'p_adjusted': each.p_adjusted,
                    }
                    for (_, backbone, method), each in against.items()
                    if each
                ],
                'runs': [_plain(result) for result in results],
                'failed': failed,
                'problems': store.problems,
                'report': str(page),
            }
        )
    else:
        table = tables()
        if len(failed) < len(runs):
            title = f'{args.dataset}, test'
            table.print()
            table.print(terminal_table(results, title, against, against_best))
            table.print()
        table.print(f'Report: {page}', soft_wrap=True)
    _list('problem', 'in the folder', store.problems)
    reasons = [
        f'{name}: {" ".join(why.splitlines())}' for name, why in failed.items()
    ]
    _list('run', 'failed; --retry tries again', reasons)
    return 1 if failed else 0


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(result: Result) -> dict[str, Any]:
    """Return what a machine wants to know of a run."""
    run = result.run
    return {
        'key': run.key,
        'backbone': run.backbone,
        'method': str(run.method),
        'seed': run.seed,
        'test': result.tested,
        'val': result.val,
        'epochs': result.epochs,
        'best_epoch': result.best_epoch,
        'cut_short': result.cut_short,
        'seconds': result.seconds,
        'error': result.error,
    }


def _list(noun: str, what: str, lines: list[str]) -> None:
    """Write a number of things, and then each of them."""
    from pyg_ckd.experiments.cli.words import number_of

    if lines:
        console = messages()
        console.print(f'{number_of(len(lines), noun)} {what}:')
        for line in lines:
            console.print(f'  {line}')
