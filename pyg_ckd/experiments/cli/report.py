"""``pyg-ckd report``: the page of a folder of results."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_ckd.experiments.cli.arguments import (
    add_dataset,
    add_json,
    add_parser,
)
from pyg_ckd.experiments.cli.output import messages, write_json

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from pyg_ckd.experiments import Store

EPILOG = """\
examples:
  pyg-ckd report results/baby
  pyg-ckd report results/baby --dataset baby --out baby.html
"""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = add_parser(
        commands,
        'report',
        help='write the page of a folder of results',
        description='Write the page of a folder of results, finished or not. '
        'With --dataset,\nit has the sections on users and items with few '
        'and many interactions.',
        epilog=EPILOG,
    )
    add = parser.add_argument
    add('folder', metavar='FOLDER', type=Path, help='where results are')
    add(
        '--out',
        type=Path,
        metavar='FILE',
        help='the page (default: report.html in FOLDER)',
    )
    add('--title', default='', help='(default: the name of the data set)')
    add('--note', default='', help='a remark')
    add_dataset(parser, default=None)
    add_json(parser, 'the path of the page')
    parser.set_defaults(call=call)


def call(args: Namespace) -> int:
    """Write the page."""
    from pyg_ckd.experiments import Store, report

    store = Store(args.folder)
    if not store.log.is_file():
        inside = sorted(args.folder.glob('*/results.jsonl'))
        names = ', '.join(str(path.parent) for path in inside)
        raise FileNotFoundError(
            f"'{args.folder}' has no 'results.jsonl'; name a folder that "
            f"'pyg-ckd run' wrote, such as {names or 'results/fake'}"
        )
    data = _data(args, store) if args.dataset else None
    page = report(
        store.results(),
        args.out or args.folder / 'report.html',
        title=args.title,
        about=[args.note] if args.note else [],
        data=data,
        problems=store.problems,
    )
    for problem in store.problems:
        messages().print(f'note: {problem}')
    if args.json:
        write_json({'report': str(page), 'problems': store.problems})
    else:
        print(f'Report: {page}')
    return 0


def _data(args: Namespace, store: Store) -> HeteroData:
    """Return the graph that results were trained on.

    Raises:
        ValueError: If they were trained on another one.
    """
    from pyg_ckd.experiments import Experiment, Settings
    from pyg_ckd.experiments.data_sets import opener

    processed = args.folder.parent / 'data'
    root = processed if processed.is_dir() else None
    open_with = opener(args.dataset, args.root, root)
    experiment = Experiment(args.dataset, open_with, Settings({}), store)
    known = {result.run.data for result in store.results()}
    if experiment.fingerprint not in known:
        raise ValueError(
            f"'--dataset' needs to be what results were trained on (got "
            f"'{args.dataset}' with the fingerprint {experiment.fingerprint}, "
            f'and results have {", ".join(sorted(known)) or "none"})'
        )
    return experiment.data()
