"""From a trained model to a folder that serves it."""

from __future__ import annotations

import os
from importlib.metadata import version

import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd._version import __version__
from pyg_ckd.graph import RATES, check, feature_scales, modalities
from pyg_ckd.nn.door import as_recommender, module_of
from pyg_ckd.ranking import evaluate
from pyg_ckd.serving._folder import (
    FILES,
    write_json,
    write_manifest,
    written,
)
from pyg_ckd.serving._plain_model import plain_model
from pyg_ckd.serving._views_file import tensors_of
from pyg_ckd.serving.served import Served

WEIGHTS, EMBEDDINGS, INTERACTIONS, *LISTS = FILES
#: Of so many items features are kept, to know others of another form.
SAMPLED = 16
#: Packages whose versions are recorded.
PACKAGES = ('torch', 'torch_geometric')


def save(
    model: nn.Module,
    data: HeteroData,
    folder: str | os.PathLike[str],
) -> None:
    """Save a model, and all that is needed to serve it.

    The folder holds

    - ``model.json``: the class and its arguments, modalities, views, the
      fingerprint of the data, validation metrics, versions, and digests of the
      other files;
    - ``weights.safetensors``: the parameters and buffers;
    - ``embeddings.safetensors``: the final embeddings of all views;
    - ``interactions.safetensors``: what users have, held out interactions
      included, so that it is not recommended again, who was not trained,
      which items lack a modality, and the features of a few items;
    - ``users.json``, ``items.json``, ``titles.json``: ``data['user'].name``,
      ``data['item'].name`` and ``data['item'].title``, where there are any;
      in place of names that are missing ``original_id``.

    A saved model that is there is replaced as a whole.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``, or a
            task.
        data: The data it was trained on.
        folder: The folder to write.

    Raises:
        FileExistsError: If there is anything but a saved model.
        ValueError: If the embeddings are not finite, or names do not fit.
    """
    data = check(data)
    served = Served.from_model(model, data)
    recommender = as_recommender(model)
    names = served.modalities
    with written(folder) as new:
        save_model(module_of(recommender), str(new / WEIGHTS))
        save_file(tensors_of(served.views), new / EMBEDDINGS)
        owned = {'known': served.known, 'untrained': served.untrained}
        has = {f'has.{m}': x.cpu() for m, x in served.has.items()}
        save_file({**owned, **has, **_sample(data)}, new / INTERACTIONS)
        lists = served.users.names, served.items.names, served.titles
        for file, values in zip(LISTS, lists, strict=True):
            if values is not None:
                write_json(new / file, values)
        write_manifest(
            new,
            {
                'name': recommender.name,
                **plain_model(recommender),
                'num_users': served.users.size,
                'num_items': served.items.size,
                'modalities': {
                    m: data['item'][f'x_{m}'].size(1) for m in names
                },
                'scales': feature_scales(data),
                'views': [
                    [m for m in names if m in keep] for keep in served.keeps
                ],
                'data': served.about['data'],
                'metrics': _metrics(model, data),
                'versions': {
                    'pyg_ckd': __version__,
                    **{name: version(name) for name in PACKAGES},
                },
            },
        )


def _sample(data: HeteroData) -> dict[str, Tensor]:
    """Return features of some items that have the modality, and which."""
    sample = {}
    for m in modalities(data):
        has = data['item'].get(f'has_{m}')
        size = data['item'].num_nodes
        known = torch.arange(size) if has is None else has.cpu().nonzero()[:, 0]
        some = known[:: max(1, len(known) // SAMPLED)][:SAMPLED]
        sample[f'sampled.{m}'] = some.contiguous()
        x = data['item'][f'x_{m}']
        sample[f'sample.{m}'] = x[some.to(x.device)].float().cpu()
    return sample


def _metrics(model: nn.Module, data: HeteroData) -> dict[str, float]:
    """Return validation metrics, if there is a validation split."""
    held_out = data[RATES].get('val_edge_label_index')
    if held_out is None or not held_out.numel():
        return {}
    return evaluate(model, data, split='val')
