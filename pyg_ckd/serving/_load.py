"""From a folder to a model that serves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model as load_into
from torch import Tensor, nn

from pyg_ckd.nn import as_recommender
from pyg_ckd.nn.door import module_of
from pyg_ckd.serving._folder import read_json, read_manifest, read_tensors
from pyg_ckd.serving._names import Names
from pyg_ckd.serving._plain_model import model_of
from pyg_ckd.serving._save import (
    EMBEDDINGS,
    INTERACTIONS,
    LISTS,
    WEIGHTS,
)
from pyg_ckd.serving._views_file import views_of
from pyg_ckd.serving.served import Served
from pyg_ckd.views import Keep


def load(folder: str | os.PathLike[str]) -> Served:
    """Return a saved model, ready to serve.

    Neither the data nor what it was trained with is needed, and nothing that
    is read is executed.

    Args:
        folder: What :func:`save` has written.

    Raises:
        FileNotFoundError: If it is no such folder.
        ValueError: If a file is not as it was when the model was saved, or
            not what another one says.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    try:
        return _served(folder, manifest)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"'{folder}' is no whole saved model: {error}"
        ) from error


def load_model(
    folder: str | os.PathLike[str], module: nn.Module | None = None
) -> nn.Module:
    """Return the model itself, with its weights, in evaluation mode.

    It is what to go on training with, or to make embeddings of new items with;
    to serve, :func:`load` is enough.

    Args:
        folder: What :func:`save` has written.
        module: Where the weights go, made as it was when it was saved. By
            default one of the class that was saved, if that is one of
            :mod:`pyg_ckd.nn`; no other is imported.

    Raises:
        FileNotFoundError: If it is no such folder.
        ValueError: If a file is not as it was when the model was saved, the
            class is none of this library, or weights do not fit.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    try:
        path = _listed(folder, manifest, WEIGHTS)
        if module is None:
            made = model_of(
                {x: manifest.get(x) for x in ('class', 'arguments')}
            )
            made.load_state_dict(read_tensors(path), assign=True)
            return made.eval()
        load_into(module_of(as_recommender(module)), path)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"the model of '{folder}' cannot be made anew: {error}"
        ) from error
    return module.eval()


def weights_of(folder: Path) -> dict[str, Tensor]:
    """Return the parameters and buffers of a saved model by name."""
    manifest = read_manifest(folder)
    return read_tensors(_listed(folder, manifest, WEIGHTS))


def features_of(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Return features of some items of a saved model, and which items.

    Returns:
        By modality the numbers of items, ``[S]``, and their features, ``[S,
        num_features]``; none of a model that was saved before there were any.

    Raises:
        ValueError: If they are not what they should be.
    """
    manifest = read_manifest(folder)
    try:
        owned = read_tensors(_listed(folder, manifest, INTERACTIONS))
        num_items = _size(manifest, 'num_items')
        return {
            m: _sampled(owned, m, num_items, width)
            for m, width in manifest['modalities'].items()
            if f'sampled.{m}' in owned
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"the features of items of '{folder}' cannot be read: {error}"
        ) from error


def _sampled(
    owned: Mapping[str, Tensor], name: str, num_items: int, width: int
) -> tuple[Tensor, Tensor]:
    item = _ascending(owned, f'sampled.{name}', num_items)
    x = owned.get(f'sample.{name}')
    shape = len(item), width
    if x is None or x.shape != shape or x.dtype != torch.float32:
        raise ValueError(
            f"'sample.{name}' of '{INTERACTIONS}' needs to be float32 of shape "
            f'{list(shape)}'
        )
    return item, x


def _served(folder: Path, manifest: Mapping[str, Any]) -> Served:
    num_users = _size(manifest, 'num_users')
    num_items = _size(manifest, 'num_items')
    users, items, titles = (_list(folder, manifest, name) for name in LISTS)
    keeps = _keeps(manifest)
    _check_scales(manifest)
    views = views_of(
        read_tensors(_listed(folder, manifest, EMBEDDINGS)),
        num_users,
        num_items,
        len(keeps),
    )
    owned = read_tensors(_listed(folder, manifest, INTERACTIONS))
    return Served(
        views,
        keeps,
        {m: _mask(owned, m, num_items) for m in manifest['modalities']},
        _ascending(owned, 'known', num_users * num_items),
        _ascending(owned, 'untrained', num_users),
        Names('user', num_users, users),
        Names('item', num_items, items),
        titles,
        about={name: x for name, x in manifest.items() if name != 'files'},
    )


def _size(manifest: Mapping[str, Any], name: str) -> int:
    size = manifest.get(name)
    if type(size) is not int or size < 1:
        raise ValueError(f"its '{name}' is no positive number (got {size!r})")
    return size


def _listed(folder: Path, manifest: Mapping[str, Any], name: str) -> Path:
    """Return the path of a file whose digest was checked."""
    if name not in manifest['files']:
        raise ValueError(f"its manifest does not list '{name}'")
    return folder / name


def _keeps(manifest: Mapping[str, Any]) -> list[Keep]:
    """Return the views, each a set of modalities."""
    names, views = manifest.get('modalities'), manifest.get('views')
    if not (
        isinstance(names, dict)
        and isinstance(views, list)
        and views
        and all(isinstance(v, list) and names.keys() >= {*v} for v in views)
        and len({frozenset(v) for v in views}) == len(views)
    ):
        raise ValueError(
            f"its 'views' are no lists of its 'modalities' (got {views!r} and "
            f'{names!r})'
        )
    return [frozenset(view) for view in views]


def _check_scales(manifest: Mapping[str, Any]) -> None:
    """Refuse scales that are not a number for each modality."""
    names, scales = manifest.get('modalities'), manifest.get('scales')
    if not (
        isinstance(names, dict)
        and isinstance(scales, dict)
        and scales.keys() == names.keys()
        and all(type(scale) in (int, float) for scale in scales.values())
    ):
        raise ValueError(
            f"its 'scales' are no numbers of its 'modalities' (got {scales!r})"
        )


def _ascending(owned: Mapping[str, Tensor], name: str, most: int) -> Tensor:
    """Return whole numbers below ``most``, if they are sorted, each once."""
    values = owned.get(name)
    if values is None or values.dim() != 1 or values.dtype != torch.long:
        raise ValueError(
            f"'{INTERACTIONS}' holds no list of whole numbers '{name}'"
        )
    if len(values) and not (
        int(values[0]) >= 0
        and int(values[-1]) < most
        and bool((values[1:] > values[:-1]).all())
    ):
        raise ValueError(
            f"'{name}' of '{INTERACTIONS}' is out of order or range"
        )
    return values


def _mask(owned: Mapping[str, Tensor], name: str, size: int) -> Tensor | None:
    """Return which items have a modality, nothing if all do."""
    has = owned.get(f'has.{name}')
    if has is not None and (has.shape != (size,) or has.dtype != torch.bool):
        raise ValueError(
            f"'has.{name}' of '{INTERACTIONS}' needs {size} truth values"
        )
    return has


def _list(
    folder: Path, manifest: Mapping[str, Any], name: str
) -> list[Any] | None:
    """Return the names in a JSON file, if there is one."""
    if name not in manifest['files']:
        return None
    values = read_json(folder / name)
    if not isinstance(values, list) or {*map(type, values)} - {str, int}:
        raise ValueError(f"'{name}' is no list of names")
    return values
