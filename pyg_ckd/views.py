r"""Views: a recommender that sees only some modalities.

A view keeps a set of modalities and ablates the others (see
:class:`~pyg_ckd.transforms.AblateModality`). ``full`` keeps all, ``only(m)``
one, ``without(m)`` all but one. With two modalities ``without(image)`` is
``only(text)``, so that three views are distinct; with :math:`M > 2` there are
:math:`2M + 1`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch_geometric.data import HeteroData

from pyg_ckd.data import modalities
from pyg_ckd.transforms import AblateModality

Keep = frozenset[str]


def full(names: Iterable[str]) -> Keep:
    """Return the view that keeps all modalities."""
    return frozenset(names)


def only(name: str) -> Keep:
    """Return the view that keeps one modality."""
    return frozenset([name])


def without(names: Iterable[str], name: str) -> Keep:
    """Return the view that keeps all modalities but one."""
    return frozenset(names) - {name}


def distinct_views(names: Sequence[str]) -> list[Keep]:
    """Return the views that CKD compares, each once, the full one first.

    Example:
        >>> [sorted(keep) for keep in distinct_views(['image', 'text'])]
        [['image', 'text'], ['image'], ['text']]
    """
    keeps = [full(names)]
    keeps += [only(name) for name in names]
    keeps += [without(names, name) for name in names]
    return list(dict.fromkeys(keeps))


def view_name(keep: Keep, names: Sequence[str]) -> str:
    """Return the name of a view as tables and logs show it.

    Example:
        >>> view_name(only('text'), ['image', 'text'])
        'only(text)'
        >>> view_name(frozenset('ab'), ['a', 'b', 'c'])
        'without(c)'
    """
    if keep == full(names):
        return 'full'
    dropped = [name for name in names if name not in keep]
    if len(dropped) == 1 and len(keep) != 1:
        return f'without({dropped[0]})'
    return f'only({", ".join(name for name in names if name in keep)})'


class Rows(Protocol):
    """Rows that are computed when they are asked for."""

    def rows(self, index: Tensor | None = None) -> Tensor:
        """Return the rows ``index``, or all of them."""


@dataclass
class Views:
    r"""Embeddings of several views of one model, stored in shared blocks.

    Views of one model have much in common: a user's ID embedding is the same
    in all of them. So the embeddings are cut into blocks, and a view is a
    choice of blocks:

    .. math::
        s_v(u, i) = \sum_b \mathrm{keep}_{vb} \, \langle \mathbf{u}_b,
        \mathbf{i}_b \rangle

    A block that adds the same number to all items of a user (what is left of
    an ablated modality in a late-fusion model) changes neither a margin nor a
    ranking, and is left out.

    Args:
        user (list[Tensor]): The user blocks, each ``[num_users, d_b]``; or a
            single one that belongs to all item blocks.
        item (sequence[Tensor or Rows]): The item blocks, each
            ``[num_items, d_b]``.
        keep (Tensor): Which block belongs to which view, zeros and ones of
            shape ``[num_views, num_blocks]``.
        aux (dict[str, Tensor], optional): What the model's regularisation
            needs to know of the first view.
    """

    user: list[Tensor]
    item: Sequence[Tensor | Rows]
    keep: Tensor
    aux: Mapping[str, Tensor] = field(default_factory=dict)

    def embedding(self, view: int = 0) -> tuple[Tensor, Tensor]:
        """Return the user and the item embeddings of one view.

        Args:
            view: The position of the view.

        Returns:
            Tensors of shape ``[num_users, d]`` and ``[num_items, d]``.
        """
        item = [_rows(block) for block in self.item]
        return _joined(self.user, item, self.keep[view])

    def triples(self, user: Tensor, pos: Tensor, neg: Tensor) -> Triples:
        """Return the embeddings of users and of two items for each.

        Args:
            user: Users of shape ``[N]``.
            pos: The preferred items, of shape ``[N]``.
            neg: The other items, of shape ``[N]``.
        """
        # Compute each item row once, however often it occurs:
        needed, place = torch.cat([pos, neg]).unique(return_inverse=True)
        pos, neg = place.chunk(2)
        items = [_rows(block, needed) for block in self.item]
        return Triples(
            user=[F.embedding(user, block) for block in self.user],
            pos=[F.embedding(pos, block) for block in items],
            neg=[F.embedding(neg, block) for block in items],
            keep=self.keep,
        )


@dataclass
class Triples:
    """Block embeddings of triples (user, preferred item, other item).

    Args:
        user (list[Tensor]): The user blocks, each ``[N, d_b]``, or one for
            all.
        pos (list[Tensor]): The blocks of the preferred items.
        neg (list[Tensor]): The blocks of the other items.
        keep (Tensor): As in :class:`Views`.
    """

    user: list[Tensor]
    pos: list[Tensor]
    neg: list[Tensor]
    keep: Tensor

    def margin(self) -> Tensor:
        r"""Return :math:`D = s(u, i) - s(u, j)` in each view, ``[N, V]``."""
        user = self.user * (len(self.pos) // len(self.user))
        blocks = [
            (u * (i - j)).sum(dim=-1)
            for u, i, j in zip(user, self.pos, self.neg, strict=True)
        ]
        margin = torch.stack(blocks, dim=-1)  # [N, num_blocks]
        return margin @ self.keep.t().to(margin.dtype)  # [N, V]

    def split(self, size: int) -> tuple[Triples, Triples]:
        """Return the first ``size`` triples and the others."""
        user, other_user = _split(self.user, size)
        pos, other_pos = _split(self.pos, size)
        neg, other_neg = _split(self.neg, size)
        return (
            Triples(user, pos, neg, self.keep),
            Triples(other_user, other_pos, other_neg, self.keep),
        )

    def crossed_margin(self, size: int) -> Tensor:
        r"""Return the margins of each user on the pairs of her whole group.

        Args:
            size: The size :math:`s` of a group of consecutive triples; what
                does not fill a group is left out.

        Returns:
            Margins of shape ``[N * s, V]``.
        """
        user = self.user * (len(self.pos) // len(self.user))
        blocks = [
            crossed(u, i - j, size)
            for u, i, j in zip(user, self.pos, self.neg, strict=True)
        ]
        margin = torch.stack(blocks, dim=-1)  # [N * size, num_blocks]
        return margin @ self.keep.t().to(margin.dtype)  # [N * size, V]

    def embedding(self, view: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embeddings of one view, each ``[N, d]``."""
        keep = self.keep[view]
        user, pos = _joined(self.user, self.pos, keep)
        return user, pos, _joined(self.user, self.neg, keep)[1]


def view(
    model: nn.Module, data: HeteroData, keep: Keep
) -> tuple[Tensor, Tensor]:
    r"""Return the embeddings of one view, by ablation from outside.

    The item features of each ablated modality are replaced by their mean over
    items. So are the tables that a model may have of that modality:
    ``model.preference[m]``, of users, and ``model.offset[m]``, what it has
    learned to add to the features of the items. Gradients flow through means.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``.
        data: The user-item graph.
        keep: The modalities to keep.

    Returns:
        Tensors of shape ``[num_users, d]`` and ``[num_items, d]``.
    """
    dropped = [name for name in modalities(data) if name not in keep]
    if not dropped:
        user, item = model(data)
        return user, item
    means = {
        f'{table}.{name}': parameters[name]
        .mean(dim=0, keepdim=True)
        .expand_as(parameters[name])
        for table in ('preference', 'offset')
        if (parameters := getattr(model, table, {}))
        for name in dropped
        if name in parameters
    }
    user, item = functional_call(
        model, means, (AblateModality(*dropped)(data),)
    )
    return user, item


def default_views(
    model: nn.Module, data: HeteroData, keeps: Sequence[Keep]
) -> Views:
    """Return several views of any recommender, one forward pass for each."""
    pairs = [view(model, data, keep) for keep in keeps]
    return Views(
        user=[user for user, _ in pairs],
        item=[item for _, item in pairs],
        keep=torch.eye(len(pairs), device=pairs[0][0].device),
    )


def views(model: nn.Module, data: HeteroData, keeps: Sequence[Keep]) -> Views:
    """Return several views of a recommender, sharing what they can share.

    Uses ``model.views(data, keeps)`` where the model has it, and
    :func:`default_views` otherwise. Both give the same margins, rankings and
    gradients.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``.
        data: The user-item graph.
        keeps: The views, each a set of modalities to keep.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> model = VBPR.from_data(data, dim=4)
        >>> both = views(model, data, distinct_views(['image', 'text']))
        >>> user, item = torch.tensor([0, 1]), torch.tensor([2, 3])
        >>> both.triples(user, pos=item, neg=item + 1).margin().shape
        torch.Size([2, 3])
    """
    names = modalities(data)
    for name in full(m for keep in keeps for m in keep) - full(names):
        raise ValueError(
            f"A view keeps the modality '{name}', but the items have {names}"
        )
    own = getattr(model, 'views', None)
    result: Views = (
        own(data, keeps) if own else default_views(model, data, keeps)
    )
    return result


def crossed(user: Tensor, preferred: Tensor, size: int) -> Tensor:
    """Return the products of each user with each difference of her group.

    Args:
        user: User embeddings of shape ``[N, d]``.
        preferred: Differences of item embeddings, of shape ``[N, d]``.
        size: The number of consecutive rows in a group; what does not fill a
            group is left out.

    Returns:
        Products of shape ``[N * size]``.

    Example:
        >>> crossed(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [3.0]]),
        ...         size=2)
        tensor([1., 3., 2., 6.])
    """
    if size == 1:
        return (user * preferred).sum(dim=-1)
    num = len(user) // size * size
    users = user[:num].unflatten(0, (-1, size))  # [groups, size, d]
    pairs = preferred[:num].unflatten(0, (-1, size))  # [groups, size, d]
    return (users @ pairs.transpose(1, 2)).flatten()


def _split(
    blocks: list[Tensor], size: int
) -> tuple[list[Tensor], list[Tensor]]:
    pairs = [block.tensor_split([size]) for block in blocks]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _rows(block: Tensor | Rows, index: Tensor | None = None) -> Tensor:
    if not isinstance(block, Tensor):
        return block.rows(index)
    return block if index is None else F.embedding(index, block)


def _joined(
    user: list[Tensor], item: list[Tensor], keep: Tensor
) -> tuple[Tensor, Tensor]:
    """Join the blocks that a view keeps into one embedding each."""
    kept = keep.nonzero().flatten().tolist()
    items = [item[b] for b in kept]
    if len(user) < len(item):  # one user block for all: <u, a> + <u, b>
        return user[0], torch.stack(items).sum(dim=0)
    return torch.cat([user[b] for b in kept], dim=-1), torch.cat(items, dim=-1)
