"""``pyg-ckd export``: the best items of all users, to a file."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from pyg_ckd.experiments.cli.arguments import add_json, add_parser
from pyg_ckd.experiments.cli.output import write_json
from pyg_ckd.experiments.cli.stored import add_stored, stored

EPILOG = """\
examples:
  pyg-ckd export --dataset baby --backbone VBPR --method ckd --out baby.csv
  pyg-ckd export --dataset baby --backbone VBPR -k 50 --out baby.parquet
  pyg-ckd export --model models/shop --out shop.jsonl

A line of .csv, and a row of .parquet, is a user, a rank from 1, an item and
its score. A line of .jsonl is a user with all items and scores. The file is
either whole or not there. Items that a user has are left out, those
held out for validation and test included. Users and items are named where the
data set has names, otherwise they are numbers, those of its files.
"""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = add_parser(
        commands,
        'export',
        help='write the best items of all users to a file',
        description='Write the best items of all users to a file, by a '
        'finished run or a saved model.',
        epilog=EPILOG,
    )
    add_stored(parser)
    parser.add_argument(
        '--out',
        required=True,
        type=Path,
        metavar='FILE',
        help='a file that ends with .csv, .jsonl or .parquet; or with .npy or '
        '.faiss, for the embeddings of the items',
    )
    add_json(parser, 'its path and its size')
    parser.set_defaults(call=call)


def call(args: Namespace) -> int:
    """Write the file."""
    from pyg_ckd.serving import export, export_items
    from pyg_ckd.serving._export import VECTORS, writer_of

    if args.out.suffix in VECTORS:
        served = stored(args)
        items = export_items(served, args.out, view=args.view)
        if args.json:
            write_json({'file': str(args.out), 'items': items})
        else:
            print(f'{args.out}: {items:,} items')
        return 0
    writer_of(args.out)  # before anything is read
    served = stored(args)
    written = export(served, args.out, args.k, view=args.view)
    users = served.users.size
    if args.json:
        write_json(
            {'file': str(args.out), 'users': users, 'recommendations': written}
        )
    else:
        print(f'{args.out}: {written:,} recommendations for {users:,} users')
    return 0
