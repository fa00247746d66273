"""Ids of users and items that somebody has at hand."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Ids:
    """Ids as numbers from 0, and their names where they are names.

    Example:
        >>> Ids.read('users', ['b', 'a', 'b'])
        Ids(index=tensor([1, 0, 1]), names=['a', 'b'])
        >>> Ids.read('users', [2, 0])
        Ids(index=tensor([2, 0]), names=None)
    """

    #: For each interaction a number from 0.
    index: Tensor
    #: The sorted names that the numbers stand for, ``None`` for integers.
    names: list[str] | None

    @classmethod
    def read(cls, argument: str, values: Any) -> Ids:
        """Return ids that are integers or names.

        Args:
            argument: The name of the argument, for messages.
            values: A list, tensor, array or series.

        Raises:
            ValueError: If they are neither, or some are missing or negative.
        """
        array = column(argument, values)
        _refuse_missing(argument, pd.isna(array))
        if array.dtype.kind == 'O':
            array = _plain(argument, array)
        if array.dtype.kind == 'U':
            _refuse_missing(argument, array == '')
            names, index = np.unique(array, return_inverse=True)
            return cls(torch.from_numpy(index), names.tolist())
        if array.dtype.kind not in 'iu':
            raise ValueError(
                f"'{argument}' needs to hold integers or strings (got "
                f'{array.dtype}); cast row numbers by int, and anything else '
                f'by str'
            )
        bad = (array < 0) | (array > 2**62)
        if bad.any():
            row = bad.argmax()
            raise ValueError(
                f"'{argument}' is {array[row]} in row {row}, but integers "
                f'number rows from 0; cast names by str'
            )
        return cls(torch.from_numpy(array.astype(np.int64)), None)

    def count(self, argument: str, num: int | None) -> int:
        """Return how many there are.

        Args:
            argument: The name of the argument, for messages.
            num: The number, if it is known. Otherwise all integers from 0 to
                the largest need to be there.

        Raises:
            ValueError: If integers leave gaps or exceed ``num``.
        """
        side = argument[:-1]
        if self.names is not None:
            if num is not None and num != len(self.names):
                raise ValueError(
                    f"'num_{argument}' is {num}, but {len(self.names)} "
                    f"different names are in '{argument}'; leave it out"
                )
            return len(self.names)
        low, high = int(self.index.min()), int(self.index.max())
        one = (
            'they look counted from 1, so subtract 1'
            if low == 1 and (num is None or high == num)
            else 'number them from 0'
        )
        names = 'or cast them by str: names are numbered for you'
        if num is not None:
            row = int((self.index >= num).byte().argmax())
            if high >= num:
                raise ValueError(
                    f"'{argument}' is {int(self.index[row])} in row {row}, but "
                    f'the {num} {argument} are 0 to {num - 1}; {one}, {names}'
                )
            return num
        known = self.index.unique()
        if known.numel() <= high:
            rank = torch.arange(known.numel())
            gap = int((known != rank).byte().argmax())
            raise ValueError(
                f"'{argument}' has no {side} {gap}, but the {side} {high}; "
                f"{one}, set 'num_{argument}' if some have no interactions, "
                f'{names}'
            )
        return high + 1


def column(argument: str, values: Any) -> NDArray[Any]:
    """Return values, one an interaction, as an array.

    Args:
        argument: The name of the argument, for messages.
        values: A list, tensor, array or series.

    Raises:
        ValueError: If they are not a sequence of single values.
    """
    if isinstance(values, Tensor):
        array = values.detach().cpu().numpy()
    elif isinstance(values, np.ndarray):
        array = values
    elif isinstance(
        values, list | tuple | pd.Series | pd.Index | pd.Categorical
    ):
        array = pd.Series(values).to_numpy()
    elif hasattr(values, 'to_numpy') and hasattr(values, 'dtype'):
        array = np.asarray(values.to_numpy())  # That of polars.
    else:
        raise ValueError(
            f"'{argument}' needs to be a list, tensor, array or series (got a "
            f'{type(values).__name__})'
        )
    if array.ndim != 1:
        raise ValueError(
            f"'{argument}' needs one value for each interaction (got the "
            f'shape {list(array.shape)})'
        )
    return array


def _refuse_missing(argument: str, missing: NDArray[np.bool_]) -> None:
    if missing.any():
        raise ValueError(
            f"'{argument}' is missing in row {missing.argmax()}; leave such "
            f'rows out'
        )


def _plain(argument: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of objects as one of strings or of integers."""
    is_name = np.array([isinstance(value, str) for value in array], bool)
    if is_name.all():
        if any('\0' in value for value in array):
            row = next(i for i, value in enumerate(array) if '\0' in value)
            raise ValueError(
                f"'{argument}' has a null character in row {row}; remove it"
            )
        return array.astype(str)
    whole = np.array(
        [
            isinstance(value, Integral) and not isinstance(value, bool)
            for value in array
        ]
    )
    if whole.all():
        return array.astype(np.int64)
    row = int((~(whole if whole[0] else is_name)).argmax())
    if row == 0:
        raise ValueError(
            f"'{argument}' needs to hold integers or strings (row 0 is "
            f'{array[0]!r}); cast row numbers by int, and anything else by str'
        )
    raise ValueError(
        f"'{argument}' needs to hold integers or strings, not both (row {row} "
        f'is {array[row]!r}, row 0 is {array[0]!r}); cast all by str'
    )
