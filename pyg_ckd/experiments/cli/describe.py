"""``pyg-ckd describe``: what is in a data set."""

from __future__ import annotations

import os.path as osp
from argparse import Namespace
from pathlib import Path
from typing import Any

from pyg_ckd.experiments.cli.arguments import add_json, add_parser
from pyg_ckd.experiments.cli.output import write_json

EPILOG = """\
examples:
  pyg-ckd describe datasets/baby
  pyg-ckd describe baby --root data --json
  pyg-ckd describe datasets/shop --html shop.html --pictures pictures.zip
  pyg-ckd describe Baby          downloads a category of Amazon
"""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = add_parser(
        commands,
        'describe',
        help='print statistics of a data set',
        description='Print statistics of a data set, and what gives its test '
        'set away.\nWith --html, write a page as well, which shows whether '
        'features mean\nanything: nearest neighbours, and whether the same '
        'users want them.',
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
    add(
        '--html',
        type=Path,
        metavar='FILE',
        help='write a page of HTML, complete in itself',
    )
    add(
        '--pictures',
        metavar='PLACE',
        help='a folder or zip archive of pictures for the page, each named by '
        'its item',
    )
    add_json(parser, 'them, and more on degrees and features,')
    parser.set_defaults(call=call)


def call(args: Namespace) -> int:
    """Describe a data set."""
    from pyg_ckd.datasets import describe, describe_page, open_dataset
    from pyg_ckd.datasets._description.plain import description
    from pyg_ckd.experiments.data_sets import FAKES, opener

    if args.pictures and not args.html:
        raise ValueError("'--pictures' needs '--html', the page to show them")
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
    page = {}
    if args.html:
        place = describe_page(data, args.html, name, args.pictures)
        page = {'page': str(place)}
    if args.json:
        write_json({**description(data), **page})
        return 0
    describe(data, title=name)
    if page:
        print(f'\nPage: {page["page"]}')
    return 0
