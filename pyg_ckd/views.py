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

from pyg_ckd.graph import modalities
from pyg_ckd.kernels.precise import precise
from pyg_ckd.transforms.ablate_modality import ablated

__all__ = [
    'Ablatable',
    'Keep',
    'Rows',
    'Triples',
    'Views',
    'check_view',
    'crossed',
    'default_views',
    'distinct_views',
    'full',
    'only',
    'rows_of',
    'view',
    'view_name',
    'without',
]

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
    ranking. Such constant blocks stand last, and are left out unless asked
    for.

    Args:
        user (sequence[Tensor or Rows]): The user blocks, each
            ``[num_users, d_b]``; or a single one that belongs to all item
            blocks.
        item (sequence[Tensor or Rows]): The item blocks, each
            ``[num_items, d_b]``.
        keep (Tensor): Which block belongs to which view, zeros and ones of
            shape ``[num_views, num_blocks]``.
        aux (dict[str, Tensor], optional): What the model's regularisation
            needs to know of the first view.
        constant (int, optional): The number of constant blocks.
            (default: :obj:`0`)
    """

    user: Sequence[Tensor | Rows]
    item: Sequence[Tensor | Rows]
    keep: Tensor
    aux: Mapping[str, Tensor] = field(default_factory=dict)
    constant: int = 0

    def embedding(
        self,
        view: int = 0,
        *,
        user: Tensor | None = None,
        item: Tensor | None = None,
        constants: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return the user and the item embeddings of one view.

        Args:
            view: The position of the view.
            user: The users, all by default.
            item: The items, all by default.
            constants: Whether to have the constant blocks, too.

        Returns:
            Tensors of shape ``[num_users, d]`` and ``[num_items, d]``.
        """
        num = len(self.item) if constants else self.num_blocks
        kept = self.keep[view, :num].nonzero().flatten().tolist()
        items = [rows_of(self.item[b], item) for b in kept]
        if len(self.user) < len(self.item):  # <u, a> + <u, b> = <u, a + b>
            return rows_of(self.user[0], user), torch.stack(items).sum(dim=0)
        users = [rows_of(self.user[b], user) for b in kept]
        return torch.cat(users, dim=-1), torch.cat(items, dim=-1)

    @property
    def num_blocks(self) -> int:
        """The number of item blocks that are not constant."""
        return len(self.item) - self.constant

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
        num = self.num_blocks
        items = [rows_of(block, needed) for block in self.item[:num]]
        return Triples(
            user=[rows_of(block, user) for block in self.user[:num]],
            pos=[F.embedding(pos, block) for block in items],
            neg=[F.embedding(neg, block) for block in items],
            keep=self.keep[:, :num],
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
        return self.crossed_margin(1)

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
        with torch.autocast(margin.device.type, enabled=False):
            return margin @ self.keep.t().to(margin.dtype)  # [N * size, V]

    def embedding(self, view: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embeddings of one view, each ``[N, d]``."""
        keep = self.keep[view]
        user, pos = _joined(self.user, self.pos, keep)
        return user, pos, _joined(self.user, self.neg, keep)[1]


class Ablatable(Protocol):
    """What a view by ablation from outside needs of a recommender."""

    def tables(self, modality: str) -> Sequence[nn.Parameter]:
        """Return the parameters that are ablated along with a modality."""


def view(
    model: Ablatable,
    data: HeteroData,
    keep: Keep,
    *,
    update_buffers: bool = True,
) -> tuple[Tensor, Tensor]:
    r"""Return the embeddings of one view, by ablation from outside.

    The item features of each ablated modality are replaced by their mean over
    items, and so are its tables, by their mean over rows: what a model has
    learned of that modality for each user, or adds to the features of each
    item. Gradients flow through means. A table that a kept modality has, too,
    stays. The model itself is not changed, also where it has a table under
    several names.

    Args:
        model: A :class:`~pyg_ckd.nn.Recommender`.
        data: The user-item graph.
        keep: The modalities to keep.
        update_buffers: Whether the pass updates what the model counts, such
            as the statistics of batch normalisation.

    Returns:
        Tensors of shape ``[num_users, d]`` and ``[num_items, d]``.
    """
    assert isinstance(model, nn.Module)
    dropped = [name for name in modalities(data) if name not in keep]
    kept = {id(table) for name in keep for table in model.tables(name)}
    means = {
        id(table): table.mean(dim=0, keepdim=True).expand_as(table)
        for name in dropped
        for table in model.tables(name)
        if id(table) not in kept
    }
    # Each place that holds one of them, once, however often it is reached:
    replaced: dict[str, Tensor] = {
        f'{prefix}.{name}'.lstrip('.'): means[id(parameter)]
        for prefix, module in model.named_modules()
        for name, parameter in module.named_parameters(
            recurse=False, remove_duplicate=False
        )
        if id(parameter) in means
    }
    if not update_buffers:
        buffers = model.named_buffers()
        replaced |= {name: buffer.clone() for name, buffer in buffers}
    seen = ablated(data, dropped) if dropped else data
    user, item = functional_call(model, replaced, (seen,), tie_weights=False)
    return user, item


def default_views(
    model: Ablatable, data: HeteroData, keeps: Sequence[Keep]
) -> Views:
    """Return several views of any recommender, one forward pass for each.

    Only the first, which is the one that is trained, updates buffers.
    """
    pairs = [
        view(model, data, keep, update_buffers=place == 0)
        for place, keep in enumerate(keeps)
    ]
    return Views(
        user=[user for user, _ in pairs],
        item=[item for _, item in pairs],
        keep=torch.eye(len(pairs), device=pairs[0][0].device),
    )


def check_view(keep: Keep, data: HeteroData) -> Keep:
    """Return a view, if the data has the modalities that it keeps.

    Args:
        keep: The view.
        data: The user-item graph.

    Raises:
        ValueError: If one is missing, or the view is no set of names.
    """
    names = modalities(data)
    if isinstance(keep, str):
        raise ValueError(
            f"A view is a set of modalities: write only('{keep}') for the "
            f"view that keeps '{keep}'"
        )
    for name in sorted(set(keep) - set(names)):
        raise ValueError(
            f"A view keeps the modality '{name}', but the items have {names}"
        )
    return frozenset(keep)


def crossed(user: Tensor, preferred: Tensor, size: int) -> Tensor:
    """Return the products of each user with each difference of her group.

    They have at least 32 bits, also under autocast.

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
    user, preferred = precise(user), precise(preferred)
    if size == 1:
        return (user * preferred).sum(dim=-1)
    num = len(user) // size * size
    users = user[:num].unflatten(0, (-1, size))  # [groups, size, d]
    pairs = preferred[:num].unflatten(0, (-1, size))  # [groups, size, d]
    with torch.autocast(user.device.type, enabled=False):
        return (users @ pairs.transpose(1, 2)).flatten()


def _split(
    blocks: list[Tensor], size: int
) -> tuple[list[Tensor], list[Tensor]]:
    pairs = [block.tensor_split([size]) for block in blocks]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def rows_of(block: Tensor | Rows, index: Tensor | None = None) -> Tensor:
    """Return the rows of a block.

    Args:
        block: The block.
        index: The rows, all by default.
    """
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
