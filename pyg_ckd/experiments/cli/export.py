"""``pyg-ckd export``: the best items of all users, to a file."""

from __future__ import annotations

import csv
import io
import json
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pyg_ckd.experiments.cli.arguments import add_json, add_parser
from pyg_ckd.experiments.cli.output import write_json
from pyg_ckd.experiments.cli.stored import add_stored, names_of, stored

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from pyg_ckd.nn import FixedEmbeddings

#: Users are taken in blocks of so many, to bound memory.
BLOCK = 1024
#: A user, and items with their scores, best first.
Row = tuple[Any, list[Any], list[float]]
Writer = Callable[[IO[bytes], Iterable[list[Row]]], None]

EPILOG = """\
examples:
  pyg-ckd export --dataset baby --backbone VBPR --method ckd --out baby.csv
  pyg-ckd export --dataset baby --backbone VBPR -k 50 --out baby.parquet

A line of .csv, and a row of .parquet, is a user, a rank from 1, an item and
its score. A line of .jsonl is a user with all items and scores. The file is
either whole or not there. Items that a user has are left out, those
held out for validation and test included.
"""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = add_parser(
        commands,
        'export',
        help='write the best items of all users to a file',
        description='Write the best items of all users to a file, by a '
        'finished run.',
        epilog=EPILOG,
    )
    add_stored(parser)
    parser.add_argument(
        '--out',
        required=True,
        type=Path,
        metavar='FILE',
        help='a file that ends with .csv, .jsonl or .parquet',
    )
    add_json(parser, 'its path and its size')
    parser.set_defaults(call=call)


def call(args: Namespace) -> int:
    """Write the file."""
    from pyg_ckd.datasets.files import open_atomic

    write = writer_of(args.out)
    model, data = stored(args)
    written = 0
    with open_atomic(args.out) as file:

        def counted() -> Iterator[list[Row]]:
            nonlocal written
            for block in blocks(model, data, args.k):
                written += sum(len(items) for _, items, _ in block)
                yield block

        write(file, counted())
    users = data['user'].num_nodes
    if args.json:
        write_json(
            {'file': str(args.out), 'users': users, 'recommendations': written}
        )
    else:
        print(f'{args.out}: {written:,} recommendations for {users:,} users')
    return 0


def blocks(
    model: FixedEmbeddings, data: HeteroData, k: int
) -> Iterator[list[Row]]:
    """Yield the best items of all users, block by block.

    Args:
        model: The recommender.
        data: The graph.
        k: How many items for each user, or as many as there are left.
    """
    from pyg_ckd.ranking import recommend

    users, names = names_of(data, 'user'), names_of(data, 'item')
    num_users = data['user'].num_nodes
    for start in range(0, num_users, BLOCK):
        block = range(start, min(start + BLOCK, num_users))
        items, scores = recommend(model, data, block, k)
        rows = []
        for user, found, values in zip(
            block, items.tolist(), scores.tolist(), strict=True
        ):
            found = [item for item in found if item >= 0]
            rows.append(
                (
                    users[user] if users else user,
                    [names[item] for item in found] if names else found,
                    values[: len(found)],
                )
            )
        yield rows


def writer_of(path: Path) -> Writer:
    """Return what writes a file of this name.

    Raises:
        ValueError: If the name ends otherwise.
        ImportError: If it is Parquet, and ``pyarrow`` is missing.
    """
    writers = {
        '.csv': write_csv,
        '.jsonl': write_jsonl,
        '.parquet': write_parquet,
    }
    if path.suffix not in writers:
        raise ValueError(
            f"'--out' needs to end with {', '.join(writers)} (got '{path}')"
        )
    if path.suffix == '.parquet':
        pyarrow()
    return writers[path.suffix]


def write_csv(file: IO[bytes], blocks: Iterable[list[Row]]) -> None:
    """Write a line for each user and item."""
    text = io.TextIOWrapper(file, 'utf-8', newline='')
    lines = csv.writer(text, lineterminator='\n')
    lines.writerow(('user', 'rank', 'item', 'score'))
    for block in blocks:
        for user, items, scores in block:
            for rank, (item, score) in enumerate(
                zip(items, scores, strict=True), 1
            ):
                lines.writerow((user, rank, item, f'{score:.9g}'))
    text.detach()


def write_jsonl(file: IO[bytes], blocks: Iterable[list[Row]]) -> None:
    """Write a line for each user."""
    for block in blocks:
        for user, items, scores in block:
            line = {'user': user, 'items': items, 'scores': scores}
            file.write(json.dumps(line).encode() + b'\n')


def write_parquet(file: IO[bytes], blocks: Iterable[list[Row]]) -> None:
    """Write a row for each user and item."""
    pa, pq = map(import_module, ('pyarrow', 'pyarrow.parquet'))
    writer = None
    for block in blocks:
        rows = [
            (user, rank, item, score)
            for user, items, scores in block
            for rank, (item, score) in enumerate(
                zip(items, scores, strict=True), 1
            )
        ]
        columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
        names = ('user', 'rank', 'item', 'score')
        table = pa.table(dict(zip(names, columns, strict=True)))
        if writer is None:
            writer = pq.ParquetWriter(file, table.schema)
        writer.write_table(table.cast(writer.schema))
    assert writer is not None
    writer.close()


def pyarrow() -> tuple[Any, Any]:
    """Return the package, and its part for Parquet.

    Raises:
        ImportError: If it is missing.
    """
    try:
        return import_module('pyarrow'), import_module('pyarrow.parquet')
    except ImportError as error:
        raise ImportError(
            "Parquet files need 'pyarrow'; `pip install 'pyg_ckd[parquet]'`"
        ) from error
