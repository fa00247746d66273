"""``pyg-ckd recommend``: the best items of some users."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from pyg_ckd.experiments.cli.arguments import add_json, add_parser
from pyg_ckd.experiments.cli.output import tables, write_json
from pyg_ckd.experiments.cli.stored import add_stored, names_of, stored

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

EPILOG = """\
examples:
  pyg-ckd recommend --backbone VBPR --user 7
  pyg-ckd recommend --dataset baby --backbone VBPR --method ckd \\
      --user 0 1 2 -k 5 --json

It reads what `pyg-ckd run` has trained, and trains nothing. Items that a user
has are left out, those held out for validation and test included. Users and
items are named where the data set has names, otherwise they are numbers,
counted from 0.
"""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = add_parser(
        commands,
        'recommend',
        help='print the best items of some users',
        description='Print the best items of some users, by a finished run.',
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
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from pyg_ckd.ranking import recommend

    model, data = stored(args)
    items, scores = recommend(model, data, numbers(data, args.user), args.k)
    lists = [
        [each for each in zip(*pair, strict=True) if each[0] >= 0]
        for pair in zip(items.tolist(), scores.tolist(), strict=True)
    ]
    users, names = names_of(data, 'user'), names_of(data, 'item')
    if args.json:
        given = args.user if users else list(map(int, args.user))
        write_json(
            [
                {
                    'user': user,
                    'items': [
                        {'item': names[item] if names else item, 'score': score}
                        for item, score in found
                    ],
                }
                for user, found in zip(given, lists, strict=True)
            ]
        )
        return 0
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for column in ('user', 'rank', 'item', 'score'):
        table.add_column(column, justify='right')
    for user, found in zip(args.user, lists, strict=True):
        for rank, (item, score) in enumerate(found, 1):
            table.add_row(
                Text(user if rank == 1 else ''),
                str(rank),
                Text(names[item] if names else str(item)),
                f'{score:.4f}',
            )
        table.add_section()
    tables().print(table)
    return 0


def numbers(data: HeteroData, users: list[str]) -> list[int]:
    """Return the numbers of users that are given by name or number.

    Raises:
        ValueError: If there is no such user.
    """
    names = names_of(data, 'user')
    known = {name: number for number, name in enumerate(names or ())}
    num_users = data['user'].num_nodes
    found = []
    for user in users:
        if names:
            number = known.get(user)
        else:
            number = int(user) if user.isdecimal() else None
        if number is None or number >= num_users:
            what = (
                f'the name of a user, such as {names[0]}'
                if names
                else f'a number from 0 to {num_users - 1}'
            )
            raise ValueError(f"'--user' needs to be {what} (got '{user}')")
        found.append(number)
    return found
