"""The best items of all users, to a file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.serving.faiss_index import FaissIndex
from pyg_ckd.serving.recommendations import Recommendations
from pyg_ckd.serving.served import Served
from pyg_ckd.views import Keep

#: Users are taken in blocks of so many, to bound memory.
BLOCK = 1024
#: How files of items end.
VECTORS = ('.npy', '.faiss')
COLUMNS = ('user', 'rank', 'item', 'score')
#: Writes blocks; told whether users, and items, are whole numbers.
Writer = Callable[
    [IO[bytes], Iterable[Recommendations], tuple[bool, bool]], None
]


def export(
    served: Served,
    path: str | os.PathLike[str],
    k: int = 10,
    *,
    exclude_known: bool = True,
    view: str | Keep | None = None,
) -> int:
    """Write the best items of all users to a file, block by block.

    A line of ``.csv``, and a row of ``.parquet``, is a user, a rank from 1, an
    item and its score. A line of ``.jsonl`` is a user with all items and
    scores. The file is either whole or not there, and written in blocks of
    users, those who are called by the numbers from 0 ascending.

    Args:
        served: The model.
        path: A file that ends with ``.csv``, ``.jsonl`` or ``.parquet``.
        k: How many items for each user, or as many as there are left.
        exclude_known: Whether items that a user has are left out.
        view: See :meth:`~pyg_ckd.serving.Served.recommend`.

    Returns:
        The number of recommendations.

    Raises:
        ValueError: If the name ends otherwise, or ``view`` is unknown.
        ImportError: If it is Parquet, and ``pyarrow`` is missing.
        OSError: If the file cannot be written.
    """
    write = writer_of(Path(path))
    written = 0

    def blocks() -> Iterator[Recommendations]:
        nonlocal written
        order = served.users.order
        for start in range(0, len(order), BLOCK):
            block = served.recommend(
                served.users.of(order[start : start + BLOCK]),
                k,
                exclude_known=exclude_known,
                view=view,
            )
            written += sum(map(len, block.items))
            yield block

    with open_atomic(path) as file:
        write(file, blocks(), (served.users.are_whole, served.items.are_whole))
    return written


def export_items(
    served: Served,
    path: str | os.PathLike[str],
    *,
    view: str | Keep | None = None,
) -> int:
    """Write the embeddings of all items to a file, for other programs.

    Args:
        served: The model.
        path: A file that ends with ``.npy``, for a matrix with a row for each
            item, or with ``.faiss``, for an approximate index of them. Rows are
            in the order of ``served.items``; where items are called by the
            numbers from 0, row 7 is item 7.
        view: See :meth:`~pyg_ckd.serving.Served.recommend`.

    Returns:
        The number of items.

    Raises:
        ValueError: If the name ends otherwise, or ``view`` is unknown.
        ImportError: If it is an index, and ``faiss`` is missing.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in VECTORS:
        raise ValueError(
            f"A file of items ends with {', '.join(VECTORS)} (got '{path}')"
        )
    _, item_emb = served.embeddings(view)
    item_emb = item_emb.index_select(0, torch.tensor(served.items.order))
    if path.suffix == '.faiss':
        FaissIndex(item_emb).save(path)
    else:
        with open_atomic(path) as file:
            item = item_emb.to_dense()
            item = item.float() if item.dtype == torch.bfloat16 else item
            np.save(file, item.numpy(), allow_pickle=False)
    return served.items.size


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
            f'A file of recommendations ends with {", ".join(writers)}, one of '
            f"items with {', '.join(VECTORS)} (got '{path}')"
        )
    if path.suffix == '.parquet':
        pyarrow()
    return writers[path.suffix]


def write_csv(
    file: IO[bytes],
    blocks: Iterable[Recommendations],
    whole: tuple[bool, bool],
) -> None:
    """Write a line for each user and item."""
    text = io.TextIOWrapper(file, 'utf-8', newline='')
    lines = csv.writer(text, lineterminator='\n')
    lines.writerow(COLUMNS)
    for block in blocks:
        for user, rank, item, score in block.rows():
            lines.writerow((user, rank, item, f'{score:.9g}'))
    text.detach()


def write_jsonl(
    file: IO[bytes],
    blocks: Iterable[Recommendations],
    whole: tuple[bool, bool],
) -> None:
    """Write a line for each user."""
    for block in blocks:
        lists = zip(block.users, block.items, block.scores, strict=True)
        for user, items, scores in lists:
            line = {'user': user, 'items': items, 'scores': scores}
            file.write(json.dumps(line).encode() + b'\n')


def write_parquet(
    file: IO[bytes],
    blocks: Iterable[Recommendations],
    whole: tuple[bool, bool],
) -> None:
    """Write a row for each user and item."""
    pa, pq = pyarrow()
    names, integers = (
        pa.int64() if is_whole else pa.string() for is_whole in whole
    )
    types = names, pa.int64(), integers, pa.float64()
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    with pq.ParquetWriter(file, schema) as writer:
        for block in blocks:
            rows = [
                (u if whole[0] else str(u), rank, i if whole[1] else str(i), x)
                for u, rank, i, x in block.rows()
            ]
            columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
            arrays = [
                pa.array(column, kind)
                for column, kind in zip(columns, types, strict=True)
            ]
            writer.write_table(pa.table(arrays, schema=schema))


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
