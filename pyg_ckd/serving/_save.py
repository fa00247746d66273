"""From a trained model to a folder that serves it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file, save_model
from torch import nn
from torch_geometric.data import HeteroData

from pyg_ckd import __version__
from pyg_ckd.graph import check, fingerprint, modalities, owned_keys
from pyg_ckd.nn.door import (
    Foreign,
    as_recommender,
    check_finite,
    checked_embeddings,
    default_view,
    matched,
)
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.serving._folder import write_json, write_manifest, written
from pyg_ckd.serving._names import Names
from pyg_ckd.serving._plain_model import plain_model
from pyg_ckd.serving._views_file import tensors_of
from pyg_ckd.views import distinct_views, view_name

WEIGHTS = 'weights.safetensors'
EMBEDDINGS = 'embeddings.safetensors'
INTERACTIONS = 'interactions.safetensors'
NAMES = {'user': 'users.json', 'item': 'items.json'}
TITLES = 'titles.json'


def save(
    model: nn.Module,
    data: HeteroData,
    folder: str | os.PathLike[str],
    *,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Save a model, and all that is needed to serve it.

    The folder holds

    - ``model.json``: the class and its arguments, modalities, views, the
      fingerprint of the data, metrics, versions, and digests of the files;
    - ``weights.safetensors``: the parameters and buffers;
    - ``embeddings.safetensors``: the final embeddings of all views;
    - ``interactions.safetensors``: what users have, held out interactions
      included, so that it is not recommended again;
    - ``users.json``, ``items.json``, ``titles.json``: ``data['user'].name``,
      ``data['item'].name`` and ``data['item'].title``, where there are any.

    A saved model that is there is replaced as a whole.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``, or a
            task.
        data: The data it was trained on.
        folder: The folder to write.
        metrics: Its validation metrics, for the record.

    Raises:
        FileExistsError: If there is anything but a saved model.
        ValueError: If the embeddings are not finite, or names do not fit.
    """
    data = check(data)
    keep = default_view(model, data)
    recommender = as_recommender(model)
    names = modalities(data)
    keeps = list(dict.fromkeys([keep, *distinct_views(names)]))
    known = owned_keys(data).cpu()
    moved = matched(data, recommender)
    with evaluating(recommender):
        views = recommender.views(moved, keeps)
        for place, each in enumerate(keeps):
            label = f'{recommender.name} in the view {view_name(each, names)}'
            pair = checked_embeddings(views.embedding(place), moved, label)
            check_finite(*pair, label)
        embeddings = tensors_of(views)
    with written(folder) as new:
        trained = recommender
        if isinstance(recommender, Foreign):
            trained = recommender.module
        save_model(trained, str(new / WEIGHTS))
        save_file(embeddings, new / EMBEDDINGS)
        save_file({'known': known}, new / INTERACTIONS)
        _write_names(new, data)
        write_manifest(
            new,
            {
                'model': plain_model(recommender),
                'num_users': data['user'].num_nodes,
                'num_items': data['item'].num_nodes,
                'modalities': {
                    m: data['item'][f'x_{m}'].size(1) for m in names
                },
                'views': [[m for m in names if m in k] for k in keeps],
                'data': fingerprint(data),
                'metrics': dict(metrics or {}),
                'versions': {
                    'pyg_ckd': __version__,
                    'torch': torch.__version__,
                    'torch_geometric': version('torch_geometric'),
                },
            },
        )


def _write_names(folder: Path, data: HeteroData) -> None:
    for node, file in NAMES.items():
        given = data[node].get('name')
        if given is None:
            continue
        names = [name if type(name) is int else str(name) for name in given]
        Names(node, data[node].num_nodes, names)  # checks them
        write_json(folder / file, names)
    titles = data['item'].get('title')
    if titles is not None:
        if len(titles) != data['item'].num_nodes:
            raise ValueError(
                f"data['item'].title needs a title for each of "
                f'{data["item"].num_nodes} items (got {len(titles)})'
            )
        write_json(folder / TITLES, [str(title) for title in titles])
