"""``pyg-ckd tune``: search for settings on validation."""

from __future__ import annotations

import shlex
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from pyg_ckd.experiments.cli.arguments import (
    add_dataset,
    add_folder,
    add_json,
    add_objective,
    add_parser,
    add_training,
    existing_file,
    experiment_of,
    method_of,
    place_of,
    positive_number,
    store_of,
)
from pyg_ckd.experiments.cli.output import messages, tables, write_json
from pyg_ckd.experiments.names import BACKBONES, TUNED

if TYPE_CHECKING:
    from rich.table import Table

    from pyg_ckd.experiments.tuning.best import Found

EPILOG = """\
examples:
  pyg-ckd tune --backbone VBPR --trials 5
  pyg-ckd tune --dataset baby --backbone VBPR FREEDOM --method base ckd umt
  pyg-ckd run --dataset baby --settings results/baby/tune/best.toml

First the base is tuned, whose settings teachers and students share, then each
balance on the best of these. Only validation is looked at. Each balance gets
--trials trials, and the base twice as many, so that it is not the weaker for
less effort. The settings to start from are the first trial.

The same command goes on where it stopped, and with more trials it is
prolonged. It may be started several times to share the trials, on several
machines only with --storage and a folder they share.
"""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = add_parser(
        commands,
        'tune',
        help='search for settings on validation',
        description='Search for the settings of backbones and balances on '
        'validation.\nIt needs the packages of pyg_ckd[tune].',
        epilog=EPILOG,
        after_interrupt='; the same command goes on where it stopped',
    )
    add = parser.add_argument
    add_dataset(parser)
    add(
        '--backbone',
        nargs='+',
        required=True,
        choices=BACKBONES,
        metavar='NAME',
        help=f'of {", ".join(BACKBONES)}',
    )
    add(
        '--method',
        nargs='+',
        default=('base', 'ckd'),
        choices=TUNED,
        metavar='NAME',
        help=f'of {", ".join(TUNED)}; the base is tuned in any case (default: '
        'base ckd)',
    )
    add_objective(parser)
    add(
        '--trials',
        default=20,
        type=positive_number,
        metavar='N',
        help='how many for each balance, and twice as many for the base '
        '(default: 20)',
    )
    add('--seed', default=0, type=int, metavar='N', help='(default: 0)')
    add(
        '--spaces',
        type=existing_file,
        metavar='FILE',
        help='a TOML file of what is searched (default: the one of the '
        'library)',
    )
    add(
        '--storage',
        metavar='URL',
        help='a database for Optuna (default: a file in the folder of results)',
    )
    add_training(parser)
    add_folder(parser)
    add_json(parser, 'the table and the path of the settings')
    parser.set_defaults(call=call)


def call(args: Namespace) -> int:
    """Search, and show what was found."""
    from pyg_ckd.experiments.cli.tune_progress import TuneDisplay
    from pyg_ckd.experiments.tuning import tune
    from pyg_ckd.experiments.tuning.spaces import Spaces

    console = messages()
    experiment = experiment_of(args, store_of(args))
    methods = [method_of(name, args.objective) for name in args.method]
    spaces = Spaces.read(args.spaces) if args.spaces else None
    found: list[tuple[str, Found]] = []
    with TuneDisplay(console) as display:
        for backbone in dict.fromkeys(args.backbone):
            tuned = tune(
                experiment,
                backbone,
                methods,
                args.trials,
                spaces=spaces,
                seed=args.seed,
                storage=args.storage,
                watcher=display,
            )
            found += [(backbone, each) for each in tuned.found]
    if args.json:
        rows = [_plain(*each) for each in found]
        write_json({'table': rows, 'settings': str(tuned.path)})
        return 0
    table = tables()
    table.print(_table(found, f'{args.dataset}, validation'))
    table.print(f'Settings: {tuned.path}', soft_wrap=True)
    words = ['pyg-ckd', 'run', '--settings', str(tuned.path)]
    words += place_of(args)
    words += ['--backbone', *args.backbone]
    words += ['--method', *dict.fromkeys(['base', 'teachers', *args.method])]
    if args.max_epochs != 1000:
        words += ['--max-epochs', str(args.max_epochs)]
    words += ['--objective', args.objective] if args.objective else []
    table.print(f'Use them by: {shlex.join(words)}', soft_wrap=True)
    return 0


def _plain(backbone: str, found: Found) -> dict[str, Any]:
    """Return what a machine wants to know of a method."""
    return {
        'backbone': backbone,
        'method': str(found.method),
        'started': found.started,
        'halfway': found.halfway,
        'best': found.value,
        'own': found.own,
        'is_off': found.is_off,
        'trials': found.trials,
        'failed': found.reasons,
        'changes': dict(found.changes),
        'key': found.key,
    }


def _table(found: list[tuple[str, Found]], title: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
    )
    for name in ('backbone', 'method', 'at first', 'halfway', 'best', 'trials'):
        table.add_column(name, no_wrap=True)
    table.add_column('remarks')
    previous = ''
    for backbone, each in found:
        if previous not in ('', backbone):
            table.add_section()
        values = [
            '' if value is None else f'{value:.4f}'
            for value in (each.started, each.halfway, each.value)
        ]
        remarks = ['no better than the base, switched off'] * each.is_off
        if each.reasons:
            remarks.append(f'{len(each.reasons)} failed')
        table.add_row(
            '' if backbone == previous else backbone,
            Text(str(each.method)),
            *values,
            str(each.trials),
            ', '.join(remarks),
        )
        previous = backbone
    return table
