"""A user-item graph of one's own interactions."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from datetime import datetime
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.features.rows import features_of
from pyg_ckd.datasets.raw.frames import frame_of, indexed
from pyg_ckd.datasets.raw.graph_of_splits import graph_of_splits
from pyg_ckd.datasets.raw.ids import Ids, column
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits import Split, as_split
from pyg_ckd.datasets.splits.names import NAMES
from pyg_ckd.graph import check
from pyg_ckd.kernels.arguments import check_whole

_LABELS: dict[str | int, int] = {
    **{0: 0, 1: 1, 2: 2},
    **{'train': 0, 'val': 1, 'valid': 1, 'validation': 1, 'test': 2},
}


def from_interactions(
    users: Any,
    items: Any = None,
    features: Mapping[str, Any] | None = None,
    split: Any = 'random',
    *,
    num_users: int | None = None,
    num_items: int | None = None,
    rating: Any = None,
    time: Any = None,
    user: str = 'user',
    item: str = 'item',
) -> HeteroData:
    """Return the user-item graph of interactions at hand.

    Users and items are either integers, which count rows from 0 and stay as
    they are, or names, which are numbered in sorted order. Names are kept as
    ``data['user'].name`` and ``data['item'].name``.

    Pairs that occur several times count once. The earliest one stays where
    ``time`` is given, of equal times the first; without it the first.

    Args:
        users (list, Tensor, array, Series or DataFrame): The user of each
            interaction, or a table that holds all columns, of pandas or of
            polars.
        items (list, Tensor, array or Series, optional): The item of each
            interaction. Left out with a table. (default: :obj:`None`)
        features (dict[str, Any], optional): For each modality the features of
            all items. Where items are integers, a matrix with a row for each;
            where they are names, a :obj:`DataFrame` indexed by name, or a
            mapping from names to vectors. Rows of unknown names are left out. A
            table of polars, which has no index, has the items in the column
            ``item``, and features in the others, or lists in one other.
            (default: :obj:`None`)
        split (Split, str or list, optional): A split, such as
            ``RandomSplit(seed=1)``, or the name of one (``"random"``,
            ``"time"``, ``"leave_one_out"``, ``"mmrec"`` or ``"lattice"``); or
            the split of each interaction: 0, 1 and 2, or ``"train"``,
            ``"val"`` and ``"test"``; with a table, also the name of a column
            of these. (default: :obj:`"random"`)
        num_users (int, optional): The number of users, for integers.
            (default: one more than the largest)
        num_items (int, optional): The number of items, for integers.
            (default: the number of rows of features, or one more than the
            largest item)
        rating (list, Tensor, array, Series or str, optional): The rating of
            each interaction, or the name of a column. (default: :obj:`None`)
        time (list, Tensor, array, Series or str, optional): The time of each
            interaction, or the name of a column. Dates become seconds since
            1970 in UTC, with fractions if any has some. (default: :obj:`None`)
        user (str, optional): The column of users. (default: :obj:`"user"`)
        item (str, optional): The column of items, in tables of polars with
            features as well. (default: :obj:`"item"`)

    Returns:
        A graph that passes :func:`~pyg_ckd.graph.check`.

    Raises:
        ValueError: If the parts do not fit together, or a number of users or
            items is not positive. Integers that leave gaps
            are not renumbered.

    Example:
        >>> data = from_interactions(
        ...     ['ann', 'ann', 'bob', 'bob'], ['tea', 'cup', 'cup', 'pot'],
        ...     features={'text': {'pot': [0.0], 'tea': [1.0], 'cup': [2.0]}},
        ...     split=['train', 'val', 'train', 'test'],
        ... )
        >>> data['item'].name, data['item'].x_text.flatten().tolist()
        (['cup', 'pot', 'tea'], [2.0, 0.0, 1.0])
        >>> data['user', 'rates', 'item'].edge_index
        tensor([[0, 1],
                [2, 0]])
    """
    table = frame_of(users)
    if table is not None:
        if items is not None:
            raise ValueError(
                "'items' is given beside a DataFrame; name its column by "
                "item='...' instead"
            )
        users = _column(table, 'user', user)
        items = _column(table, 'item', item)
        rating = _column(table, 'rating', rating)
        time = _column(table, 'time', time)
        if isinstance(split, str) and split in table and split not in NAMES:
            split = table[split]
    if items is None:
        raise ValueError(
            "'items' is missing; pass the item of each interaction, or a "
            'DataFrame with both columns'
        )
    drawn = isinstance(split, Split | str | os.PathLike)
    user_ids, item_ids = Ids.read('users', users), Ids.read('items', items)
    label = None if drawn else _label(split)
    rating, time = _numbers('rating', rating), _numbers('time', time)
    num = len(user_ids.index)
    if num == 0:
        raise ValueError("'users' is empty; pass at least one interaction")
    for name, values in (
        ('items', item_ids.index),
        ('split', label),
        ('rating', rating),
        ('time', time),
    ):
        if values is not None and len(values) != num:
            raise ValueError(
                f"'{name}' has {len(values)} values, but 'users' has {num}; "
                f'each interaction needs one'
            )

    for name, size in ('num_users', num_users), ('num_items', num_items):
        if size is not None:
            check_whole('from_interactions', **{name: size})
    if isinstance(features, Mapping):
        features = {
            modality: indexed(x, item) for modality, x in features.items()
        }
    x, num_items = features_of(features, item_ids, num_items)
    num_users = user_ids.count('users', num_users)
    num_items = item_ids.count('items', num_items)
    keep = _one_of_each(user_ids.index, item_ids.index, label, time)
    interactions = Interactions(
        user_ids.names or list(map(str, range(num_users))),
        item_ids.names or list(map(str, range(num_items))),
        user_ids.index[keep],
        item_ids.index[keep],
        None if rating is None else rating[keep],
        None if time is None else time[keep],
    )
    data = graph_of_splits(
        interactions.user,
        interactions.item,
        as_split(split)(interactions) if label is None else label[keep],
        num_users,
        num_items,
        x,
        rating=interactions.rating,
        time=interactions.time,
    )
    for node, ids in (('user', user_ids), ('item', item_ids)):
        if ids.names is not None:
            data[node].name = ids.names
    return check(data)


def _column(table: Any, argument: str, value: Any) -> Any:
    """Return a column by its name, and anything else as it is."""
    if not isinstance(value, str):
        return value
    if value not in table:
        raise ValueError(
            f"'{argument}' names the column {value!r}, but there are "
            f"{list(table)}; set {argument}='...'"
        )
    return table[value]


def _label(split: Any) -> Tensor:
    """Return the split of each interaction as 0, 1 or 2."""
    values = column('split', split)
    label = []
    for row, value in enumerate(values.tolist()):
        number = _LABELS.get(value) if isinstance(value, str | int) else None
        if number is None or isinstance(value, bool):
            raise ValueError(
                f"'split' is {value!r} in row {row}, expected 0, 1 or 2, or "
                f"'train', 'val' or 'test'"
            )
        label.append(number)
    return torch.tensor(label, dtype=torch.long)


def _numbers(argument: str, values: Any) -> Tensor | None:
    """Return ratings or times; dates become seconds."""
    if values is None:
        return None
    array = column(argument, values)
    if array.dtype.kind == 'O':
        array = _plain_numbers(array)
    bad = pd.isna(array)
    if array.dtype.kind in 'iuf':
        most = np.finfo(np.float32).max if argument == 'rating' else 2**62
        bad |= ~((array >= -most) & (array <= most))
    if bad.any():
        raise ValueError(
            f"'{argument}' is no finite number in row {bad.argmax()}, or too "
            f'large; convert it first, dates by pandas.to_datetime, or leave '
            f'such rows out'
        )
    if array.dtype.kind == 'M' and argument == 'time':
        array = _seconds(array)
    if array.dtype.kind not in 'iuf':
        raise ValueError(
            f"'{argument}' needs to hold numbers (got {array.dtype})"
        )
    kind = np.float64 if array.dtype.kind == 'f' else np.int64
    numbers = torch.from_numpy(array.astype(kind))
    return numbers.float() if argument == 'rating' else numbers


def _plain_numbers(array: NDArray[Any]) -> NDArray[Any]:
    """Return objects as numbers or dates, what is neither as NaN.

    Dates with a time zone are those of UTC, without it.
    """
    known = pd.Series(array).dropna()
    if len(known) and known.map(lambda x: isinstance(x, datetime)).all():
        dates = pd.to_datetime(pd.Series(array), utc=True)
        return dates.dt.tz_localize(None).to_numpy()
    is_number = [isinstance(x, str | Number) for x in array]
    numbers = pd.Series(array).where(is_number)
    return pd.to_numeric(numbers, errors='coerce').to_numpy()


def _seconds(dates: NDArray[Any]) -> NDArray[Any]:
    """Return dates as seconds since 1970, with fractions if any has some."""
    whole = dates.astype('datetime64[s]')
    seconds = whole.astype(np.int64)
    rest = (dates - whole) / np.timedelta64(1, 's')
    return seconds + rest if rest.any() else seconds


def _one_of_each(
    user: Tensor, item: Tensor, label: Tensor | None, time: Tensor | None
) -> Tensor:
    """Return the rows in which a pair occurs for the first time."""
    key = user * (item.max() + 1) + item
    pair, inverse = key.unique(return_inverse=True)
    order = torch.arange(key.numel())
    if time is not None:
        order = time.argsort(stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(key.numel())
    first = order[
        torch.full_like(pair, key.numel()).scatter_reduce(
            0, inverse, rank, 'amin'
        )
    ]
    if label is not None:
        other = label != label[first[inverse]]
        if other.any():
            row = int(other.byte().argmax())
            rows = sorted((int(first[inverse[row]]), row))
            raise ValueError(
                f"'split' is different in rows {rows[0]} and {rows[1]}, which "
                f'hold the same user and item; leave one out'
            )
    repeated = key.numel() - pair.numel()
    if repeated:
        which = 'first' if time is None else 'earliest'
        warnings.warn(
            f'{repeated} of {key.numel()} interactions repeat a user and item '
            f'of another row; each pair counts once, the {which} one',
            stacklevel=3,
        )
    return first.sort().values
