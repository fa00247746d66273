"""The part of the contract about the features of items."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd._contract.arrays import as_tensor, first, kind


def features(data: HeteroData, num_items: int) -> dict[str, Tensor]:
    """Return features and masks as the library uses them, or raise.

    Args:
        data: A user-item graph.
        num_items: The number of items.

    Returns:
        For each attribute, floats of shape ``[num_items, num_features]`` or
        Booleans of shape ``[num_items]``.
    """
    item = data['item']
    if 'x' in item:
        raise ValueError(
            "data['item'].x is read by no model: features are named after "
            "their modality, x_<modality>; rename it: data['item'].x_text = "
            "data['item'].x; del data['item'].x"
        )
    out = {}
    for name, value in item.items():
        if name.startswith('x_'):
            _check_name(name)
            out[name] = _matrix(name, value, num_items)
        elif name.startswith('has_'):
            if f'x_{name[4:]}' not in item:
                raise ValueError(
                    f"data['item'].{name} has no features beside it; set "
                    f"data['item'].x_{name[4:]}, or remove it: del "
                    f"data['item'].{name}"
                )
            out[name] = _mask(name, value, num_items)
    return out


def _check_name(name: str) -> None:
    modality = name[2:]
    if not modality:
        problem = 'has an empty name'
    elif '.' in modality:
        problem = 'has a name with a dot'
    elif modality == 'full' or set(modality) & set(',()'):
        problem = 'has a name by which views are told apart'
    elif hasattr(nn.ModuleDict(), modality) or hasattr(
        nn.ParameterDict(), modality
    ):
        problem = 'has a name that torch keeps for itself'
    else:
        return
    raise ValueError(
        f"data['item'][{name!r}]: the modality {modality!r} {problem}, so that "
        f'no module can be named after it; rename the attribute, for example '
        f"to 'x_text' or 'x_{modality.replace('.', '_') or 'my'}_features'"
    )


def _matrix(name: str, value: Any, num_items: int) -> Tensor:
    """Return features in the default dtype, or raise."""
    where = f"data['item'].{name}"
    wanted = f'expected real numbers of shape [{num_items}, num_features]'
    given = as_tensor(value)
    if given is None:
        raise ValueError(
            f'{where} is a {kind(value)}, {wanted}, in a tensor or an array'
        )
    if given.layout != torch.strided:
        raise ValueError(
            f'{where} has the layout {given.layout}, {wanted}; convert it by '
            f'.to_dense()'
        )
    if given.is_complex() or given.is_quantized:
        raise ValueError(
            f'{where} has the dtype {given.dtype}, {wanted}; convert it by '
            f'{".dequantize()" if given.is_quantized else ".abs() or .real"}'
        )
    if given.dim() != 2 or given.size(0) != num_items or given.size(1) < 1:
        raise ValueError(
            f'{where} has the shape {list(given.shape)}, {wanted}, one row an '
            f'item{_shape_fix(given, num_items)}'
        )
    x = given.to(torch.get_default_dtype())

    # A single pass: the norm of a row is nan or infinite where an entry is,
    # and where its square exceeds the dtype.
    with torch.no_grad():
        norm = torch.linalg.vector_norm(x, dim=1)
    bad = ~(norm < torch.finfo(x.dtype).max ** 0.5)
    if bad.any():
        row = first(bad)
        values = given[row].detach()
        infinite = ~values.isfinite()
        column = first(infinite if infinite.any() else _largest(values))
        shown = values[column].item()
        raise ValueError(
            f'{where} has {shown:.6g} in row {row}, column {column}, '
            + (
                f'expected finite numbers; correct it, or, if item {row} lacks '
                f'the modality, set the row to the mean of the others and '
                f"data['item'].has_{name[2:]}[{row}] = False"
                if infinite.any()
                else f'so that the square of this row is too large for '
                f'{x.dtype}; divide the features by a constant, or '
                f'standardise them'
            )
        )
    return x


def _largest(values: Tensor) -> Tensor:
    size = values.double().abs()
    return size == size.max()


def _shape_fix(x: Tensor, num_items: int) -> str:
    if x.dim() == 1 and x.size(0) == num_items:
        return '; add a dimension by .unsqueeze(1)'
    if x.dim() == 2 and x.size(0) != num_items and x.size(1) > 0:
        return (
            f"; leave out or add rows, or set data['item'].num_nodes = "
            f'{x.size(0)}'
        )
    if x.dim() > 2:
        return '; flatten it by .flatten(1)'
    return ''


def _mask(name: str, value: Any, num_items: int) -> Tensor:
    """Return which items have a modality, or raise."""
    where = f"data['item'].{name}"
    wanted = f'expected Booleans of shape [{num_items}]'
    mask = as_tensor(value)
    if mask is None or mask.layout != torch.strided:
        raise ValueError(
            f'{where} is a {kind(value)}, {wanted}, in a tensor or an array'
        )
    if mask.dtype != torch.bool:
        raise ValueError(
            f'{where} has the dtype {mask.dtype}, {wanted}; convert it by '
            f'.bool()'
        )
    if list(mask.shape) != [num_items]:
        raise ValueError(
            f'{where} has the shape {list(mask.shape)}, {wanted}, one for '
            f'each item'
        )
    return mask
