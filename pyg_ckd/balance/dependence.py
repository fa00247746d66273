"""Whether the scores of a model depend on its modalities."""

from __future__ import annotations

import torch
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import Recommender
from pyg_ckd.nn.door import matched
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.views import full, without

__all__ = ['check_dependence', 'check_modalities']


def check_modalities(data: HeteroData, owner: str) -> None:
    """Refuse data without several modalities that tell items apart.

    Args:
        data: The user-item graph.
        owner: Who asks, for messages.

    Raises:
        ValueError: If there are fewer than two modalities, or all items look
            alike in one of them.
    """
    names = modalities(data)
    if len(names) < 2:
        raise ValueError(
            f"'{owner}' balances modalities and needs at least two; the data "
            f'has {names}. Train without a balance instead'
        )
    for m in names:
        x = data['item'][f'x_{m}']
        # What rounding leaves of a constant tells no items apart, either, but
        # a graph of nearest neighbours would be made of it:
        eps = max(1e-6, 8 * torch.finfo(x.dtype).eps)
        size = x.abs().amax(dim=0)
        if (x.amax(dim=0) - x.amin(dim=0) <= eps * size).all():
            raise ValueError(
                f"data['item'].x_{m} is the same for all items, so that "
                f"'{owner}' could neither ablate '{m}' nor teach it. Leave "
                f'that modality out'
            )


def check_dependence(
    recommender: Recommender, data: HeteroData, owner: str
) -> None:
    """Refuse a model that cannot learn, or not from each modality.

    It is looked at on random triples, without dropout; a change of the size
    of rounding errors is none. Global random numbers are left as they are.

    Args:
        recommender: The model.
        data: The user-item graph.
        owner: Who asks, for messages.

    Raises:
        ValueError: If the model has no parameters to train, or its scores do
            not change when a modality is ablated.
    """
    name = recommender.name
    if not any(p.requires_grad for p in recommender.parameters()):
        raise ValueError(
            f'{name} has no parameters to train, so that there is nothing '
            f"'{owner}' could teach it"
        )
    names = modalities(data)
    if any(p.is_meta for p in recommender.parameters()):
        _check_parameters(recommender, names, owner)
        return
    data = matched(data, recommender)
    num_items = data['item'].num_nodes
    user = data[RATES].edge_index[0].unique()
    generator = torch.Generator().manual_seed(0)
    size = (len(user),)
    pos = torch.randint(num_items, size, generator=generator)
    other = torch.randint(1, num_items, size, generator=generator)
    neg = (pos + other) % num_items
    pos, neg = pos.to(user.device), neg.to(user.device)
    keeps = [full(names), *(without(names, m) for m in names)]
    with evaluating(recommender):
        several = recommender.views(data, keeps)
        margin = several.triples(user, pos, neg).margin()  # [N, 1 + M]
    idle = [
        m
        for m, view in zip(names, margin.t()[1:], strict=True)
        if (margin[:, 0] - view).abs().max() <= 1e-6 * margin[:, 0].abs().max()
    ]
    if idle:
        raise ValueError(
            f'The scores of {name} do not change when {" or ".join(idle)} is '
            f'ablated. Such effects are zero, so that there is nothing '
            f"'{owner}' could balance or distil. Use a recommender whose "
            f'scores depend on the features of each modality, or data without '
            f'{" and ".join(idle)}'
        )


def _check_parameters(
    recommender: Recommender, names: list[str], owner: str
) -> None:
    """Refuse a model without parameters for each modality.

    Nothing else is known of one on the device ``meta``, which has no scores.
    """
    for m in names:
        if not recommender.modality_parameters(m):
            raise ValueError(
                f"{recommender.name} has no parameters of '{m}', so that there "
                f"is nothing '{owner}' could balance or distil. Make it with "
                f'all modalities of the data, or use data without {m}'
            )
