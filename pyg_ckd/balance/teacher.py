"""A frozen teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.balance._embeddings import checked, spread_of_margins
from pyg_ckd.balance._teacher_file import Settings, plain, read, write
from pyg_ckd.graph import check, fingerprint, modalities
from pyg_ckd.nn import FixedEmbeddings, as_recommender
from pyg_ckd.nn.door import matched
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.ranking import evaluate
from pyg_ckd.views import Keep, check_view, crossed, full


@dataclass(frozen=True, eq=False)
class Teacher:
    """What distillation needs of a trained model: its embeddings.

    Any model of any width can be a teacher; its score is the dot product of
    its two embeddings. A teacher remembers the data it was trained on and
    refuses others. It never changes: copies share it, parameters are copied.

    Args:
        user (Tensor): User embeddings of shape ``[num_users, d]``.
        item (Tensor): Item embeddings of shape ``[num_items, d]``.
        data_fingerprint (str): :func:`~pyg_ckd.graph.fingerprint` of its data.
        settings (dict, optional): How it was trained, for the record; values
            that are no plain ones are kept as text. (default: :obj:`{}`)

    Raises:
        ValueError: If the embeddings are not of one width, or an entry is not
            finite.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.views import only
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> Teacher.from_model(VBPR.from_data(data, dim=4), data, only('text'))
        Teacher(num_users=20, num_items=10, dim=8)
    """

    user: Tensor
    item: Tensor
    data_fingerprint: str
    settings: Settings = field(default_factory=dict)

    def __post_init__(self) -> None:
        user, item = checked(self.user, self.item)
        object.__setattr__(self, 'user', user)
        object.__setattr__(self, 'item', item)
        object.__setattr__(self, 'settings', plain(self.settings))

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        data: HeteroData,
        view: Keep | None = None,
        settings: Settings | None = None,
    ) -> Teacher:
        """Freeze a view of a model.

        Args:
            model: A trained recommender.
            data: The data it was trained on, not ablated.
            view: The view that teaches, such as ``only('text')``; all
                modalities by default.
            settings: How the model was trained, for the record.

        Raises:
            ValueError: If the data has no such view.
        """
        data = check(data)
        keep = full(modalities(data)) if view is None else view
        keep = check_view(keep, data)
        recommender = as_recommender(model)
        with evaluating(recommender):
            several = recommender.views(matched(data, recommender), [keep])
            user, item = several.embedding()
        settings = {'model': repr(model), **(settings or {})}
        return cls(user.clone(), item.clone(), fingerprint(data), settings)

    @classmethod
    def from_embeddings(
        cls,
        user: Tensor,
        item: Tensor,
        data: HeteroData,
        settings: Settings | None = None,
    ) -> Teacher:
        """Make a teacher of embeddings from any source, such as a file.

        Args:
            user: User embeddings of shape ``[num_users, d]``.
            item: Item embeddings of shape ``[num_items, d]``.
            data: The data they belong to.
            settings: Where they come from, for the record.

        Raises:
            ValueError: If a shape does not fit the data, or an entry is not
                finite.
        """
        data = check(data)
        dtype = torch.get_default_dtype()
        user, item = (x.detach().to(dtype, copy=True) for x in (user, item))
        teacher = cls(user, item, fingerprint(data), settings or {})
        teacher.check(data, teacher.data_fingerprint)
        return teacher

    @classmethod
    def average(cls, teachers: Sequence[Teacher]) -> Teacher:
        """Return a teacher whose scores are the mean of several.

        The scores of a teacher of another architecture may be far larger:
        bring them to one :attr:`spread` first, by :meth:`rescaled`.

        Args:
            teachers: Teachers, each of any width.

        Raises:
            ValueError: If there are none, or of several data.
        """
        known = sorted({t.data_fingerprint for t in teachers})
        if len(known) != 1:
            raise ValueError(
                f"'Teacher.average' needs teachers that were trained on the "
                f'same data (got {[digest[:12] for digest in known]})'
            )
        return cls(
            torch.cat([t.user for t in teachers], dim=1) / len(teachers),
            torch.cat([t.item for t in teachers], dim=1),
            known[0],
            {f'teacher_{i}': str(t.settings) for i, t in enumerate(teachers)},
        )

    @cached_property
    def spread(self) -> float:
        """The standard deviation of its margins on random triples."""
        return spread_of_margins(self.user, self.item)

    def rescaled(self, spread: float) -> Teacher:
        """Return the teacher with scores of another :attr:`spread`.

        Its ranking stays the same. The losses compare margins by size, so
        that a teacher of another architecture needs the scale of the student.

        Args:
            spread: The spread to have, such as that of another teacher.

        Raises:
            ValueError: If it is not positive, or the teacher's own is zero.
        """
        own = self.spread
        if not (spread > 0 and own > 0):
            raise ValueError(
                f"'spread' needs to be positive in 'Teacher', and so does that "
                f'of the teacher itself (got {spread} and {own})'
            )
        return replace(self, user=self.user * (spread / own))

    def evaluate(self, data: HeteroData, **kwargs: Any) -> dict[str, float]:
        """Return what :func:`pyg_ckd.ranking.evaluate` says of it."""
        return evaluate(FixedEmbeddings(self.user, self.item), data, **kwargs)

    def margin(
        self, user: Tensor, pos: Tensor, neg: Tensor, group_size: int = 1
    ) -> Tensor:
        r"""Return the margins :math:`s(u, i) - s(u, j)` of triples.

        Args:
            user: Users of shape ``[N]``.
            pos: The preferred items, of shape ``[N]``.
            neg: The other items, of shape ``[N]``.
            group_size: So many consecutive triples are a group, in which each
                user is compared on each pair of items.

        Returns:
            Margins of shape ``[N * group_size]``.
        """
        preferred = F.embedding(pos, self.item) - F.embedding(neg, self.item)
        return crossed(F.embedding(user, self.user), preferred, group_size)

    def check(self, data: HeteroData, data_fingerprint: str) -> None:
        """Refuse data that the teacher was not trained on.

        Args:
            data: The data at hand.
            data_fingerprint: Its fingerprint.

        Raises:
            ValueError: If it has other users, items, interactions or features,
                or the embeddings do not fit it.
        """
        if self.data_fingerprint != data_fingerprint:
            raise ValueError(
                f'A teacher was trained on other data: its fingerprint is '
                f'{self.data_fingerprint[:12]}, that of this data '
                f'{data_fingerprint[:12]}. Train it on this data, with the '
                f'same split and features (its settings: {self.settings})'
            )
        sizes = data['user'].num_nodes, data['item'].num_nodes
        checked(self.user, self.item, sizes)

    def to(self, device: torch.device | str | torch.dtype) -> Teacher:
        """Return the teacher on another device, or in another dtype."""
        user, item = self.user.to(device), self.item.to(device)
        return replace(self, user=user, item=item)

    def state(self) -> dict[str, Any]:
        """Return all of it as plain values on the CPU, to be saved."""
        return {
            'user': self.user.cpu(),
            'item': self.item.cpu(),
            'data_fingerprint': self.data_fingerprint,
            'settings': dict(self.settings),
        }

    def save(self, path: str | Path) -> None:
        """Write the teacher to a file, whole or not at all."""
        write(self.state(), path)

    @classmethod
    def load(cls, path: str | Path) -> Teacher:
        """Read a teacher from a file, without executing anything in it.

        Args:
            path: A file written by :meth:`save`.

        Raises:
            ValueError: If the file is not a whole one of a teacher.
        """
        return read(path, lambda state: cls(**state))

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        return self

    def __repr__(self) -> str:
        (users, dim), items = self.user.shape, len(self.item)
        return f'Teacher(num_users={users}, num_items={items}, dim={dim})'
