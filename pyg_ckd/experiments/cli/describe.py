"""``pyg-ckd describe``: what is in a data set."""

from __future__ import annotations

import os.path as osp
from argparse import Namespace
from typing import Any

from pyg_ckd.experiments.cli.arguments import add_json, add_parser
from pyg_ckd.experiments.cli.output import write_json

EPILOG = """\
examples:
  pyg-ckd describe datasets/baby
  pyg-ckd describe baby --root data --json
  pyg-ckd describe Baby          downloads a category of Amazon
"""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = add_parser(
        commands,
        'describe',
        help='print statistics of a data set',
        description='Print statistics of a data set, and what gives its test '
        'set away.',
        epilog=EPILOG,
    )
    add = parser.add_argument
    add(
        'name',
        metavar='NAME',
        help='a folder, by its path or below ROOT, or a category',
    )
    add('--root', help='(default: datasets)')
    add('--processed-root', help='where to keep results (default: ROOT)')
    add('--core', type=int, help="of LATTICE's folders, if there are several")
    add_json(parser, 'them')
    parser.set_defaults(call=call)


def call(args: Namespace) -> int:
    """Describe a data set."""
    from pyg_ckd.datasets import audit, describe, open_dataset, statistics
    from pyg_ckd.experiments.data_sets import FAKES, opener

    path = args.name
    if args.root is not None or not (osp.dirname(path) or osp.isdir(path)):
        path = osp.join(args.root or 'datasets', path)
    root, name = osp.split(osp.abspath(osp.expanduser(path)))

    if args.name in FAKES and args.root is None and not osp.isdir(path):
        data = opener(args.name)(None)
    else:
        options = {} if args.core is None else {'core': args.core}
        data = open_dataset(
            root, name, processed_root=args.processed_root, **options
        )[0]
    if args.json:
        write_json({**statistics(data), 'leaks': audit(data).leaks})
    else:
        describe(data, title=name)
    return 0
