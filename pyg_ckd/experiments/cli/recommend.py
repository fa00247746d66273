"""``pyg-ckd recommend``: the best items of some users."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from pyg_ckd.experiments.cli.arguments import add_json, add_parser
from pyg_ckd.experiments.cli.output import tables, write_json
from pyg_ckd.experiments.cli.stored import add_stored, stored

EPILOG = """\
examples:
  pyg-ckd recommend --backbone VBPR --user 7
  pyg-ckd recommend --dataset baby --backbone VBPR --method ckd \\
      --user 0 1 2 -k 5 --json
  pyg-ckd recommend --model models/shop --user ann --view 'only(text)'

It reads what `pyg-ckd run` has trained, or a saved model, and trains nothing.
Items that a user has are left out, those held out for validation and test
included. Users and items are named where the data set has names, otherwise
they are numbers, those of its files.
"""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = add_parser(
        commands,
        'recommend',
        help='print the best items of some users',
        description='Print the best items of some users, by a finished run or '
        'a saved model.',
        epilog=EPILOG,
    )
    add_stored(parser)
    parser.add_argument(
        '--user', nargs='+', required=True, metavar='ID', help='whom for'
    )
    add_json(parser, 'them')
    parser.set_defaults(call=call)


def call(args: Namespace) -> int:
    """Print the best items."""
    served = stored(args)
    users = [served.users.find(text) for text in args.user]
    found = served.recommend(users, args.k, view=args.view)
    if args.json:
        write_json(
            [
                {
                    'user': user,
                    'items': [
                        {'item': item, 'score': score} for item, score in items
                    ],
                }
                for user, items in zip(users, found, strict=True)
            ]
        )
    else:
        tables().print(
            str(found), markup=False, highlight=False, soft_wrap=True
        )
    return 0
