"""A frozen teacher of one modality."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.data import fingerprint, modalities
from pyg_ckd.evaluation import evaluate, evaluation
from pyg_ckd.nn import FixedEmbeddings
from pyg_ckd.views import Keep, crossed, only, views

Settings = dict[str, str | int | float | bool | None]


@dataclass(frozen=True, eq=False)
class Teacher:
    """What distillation needs of a trained uni-modal model: its embeddings.

    Any model of any width can be a teacher; its score is the dot product of
    its two embeddings. A teacher remembers the data it was trained on and
    refuses others.

    Args:
        modality (str): The modality it teaches.
        user (Tensor): User embeddings of shape ``[num_users, d]``.
        item (Tensor): Item embeddings of shape ``[num_items, d]``.
        data_fingerprint (str): :func:`~pyg_ckd.data.fingerprint` of its data.
        settings (dict, optional): How it was trained, for the record.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> Teacher.from_model(VBPR.from_data(data, dim=4), data, 'text')
        Teacher('text', num_users=20, num_items=10, dim=8)
    """

    modality: str
    user: Tensor
    item: Tensor
    data_fingerprint: str
    settings: Settings = field(default_factory=dict)

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        data: HeteroData,
        modality: str,
        settings: Settings | None = None,
        *,
        keep: Keep | None = None,
    ) -> Teacher:
        """Freeze a view of a model.

        By default it is the view that sees the modality only, as in CKD. With
        the full one, a model that was trained without CKD teaches all views of
        its successor (self-distillation).

        Args:
            model: A trained recommender.
            data: The data it was trained on, not ablated.
            modality: The modality to teach.
            settings: How the model was trained, for the record.
            keep: The view that teaches; by default ``only(modality)``.

        Raises:
            ValueError: If the data has no such modality.

        Example:
            >>> from pyg_ckd.datasets import FakeMultimodal
            >>> from pyg_ckd.nn import VBPR
            >>> from pyg_ckd.views import full
            >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
            >>> base = VBPR.from_data(data, dim=4)
            >>> keep = full(['image', 'text'])
            >>> {
            ...     m: Teacher.from_model(base, data, m, keep=keep)
            ...     for m in ['image', 'text']
            ... }['text']
            Teacher('text', num_users=20, num_items=10, dim=12)
        """
        if modality not in modalities(data):
            raise ValueError(
                f"'modality' needs to be one of {modalities(data)} in "
                f"'Teacher' (got '{modality}')"
            )
        keep = only(modality) if keep is None else keep
        with evaluation(model):
            user, item = views(model, data, [keep]).embedding()
        return cls(
            modality,
            user.clone(),
            item.clone(),
            fingerprint(data),
            {'model': repr(model), **(settings or {})},
        )

    @classmethod
    def from_embeddings(
        cls,
        user: Tensor,
        item: Tensor,
        data: HeteroData,
        modality: str,
        settings: Settings | None = None,
    ) -> Teacher:
        """Make a teacher of embeddings from any source, such as a file.

        Args:
            user: User embeddings of shape ``[num_users, d]``.
            item: Item embeddings of shape ``[num_items, d]``.
            data: The data they belong to.
            modality: The modality to teach.
            settings: Where they come from, for the record.

        Raises:
            ValueError: If a shape does not fit the data, or an entry is not
                finite.

        Example:
            >>> from pyg_ckd.datasets import FakeMultimodal
            >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
            >>> Teacher.from_embeddings(
            ...     torch.rand(20, 4), torch.rand(10, 4), data, 'text'
            ... )
            Teacher('text', num_users=20, num_items=10, dim=4)
        """
        sides = {'user': user, 'item': item}
        for side, emb in sides.items():
            num = data[side].num_nodes
            if (
                emb.dim() != 2
                or len(emb) != num
                or user.size(-1) != emb.size(1)
            ):
                raise ValueError(
                    f"'{side}' needs the shape [{num}, d], with one d for "
                    f"both sides, in 'Teacher' (got {list(emb.shape)})"
                )
            if not emb.isfinite().all():
                raise ValueError(
                    f"'{side}' holds NaN or infinity in the teacher of "
                    f"'{modality}'"
                )
        return cls(
            modality,
            user.detach().float().clone(),
            item.detach().float().clone(),
            fingerprint(data),
            settings or {},
        )

    @classmethod
    def average(cls, teachers: Sequence[Teacher]) -> Teacher:
        r"""Return a teacher whose scores are the mean of several.

        The scores of a teacher of another architecture may be far larger:
        bring them to one :attr:`spread` first, by :meth:`rescaled`.

        Args:
            teachers: Teachers of one modality, each of any width.

        Raises:
            ValueError: If there are none, or of several modalities or data.

        Example:
            >>> from pyg_ckd.datasets import FakeMultimodal
            >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
            >>> two = [
            ...     Teacher.from_embeddings(
            ...         torch.rand(20, dim), torch.rand(10, dim), data, 'text'
            ...     )
            ...     for dim in (4, 6)
            ... ]
            >>> Teacher.average(two)
            Teacher('text', num_users=20, num_items=10, dim=10)
        """
        kinds = {(t.modality, t.data_fingerprint) for t in teachers}
        if len(kinds) != 1:
            raise ValueError(
                f"'Teacher.average' needs teachers of one modality that were "
                f'trained on the same data (got '
                f'{[(m, digest[:12]) for m, digest in sorted(kinds)]})'
            )
        [(modality, data_fingerprint)] = kinds
        return cls(
            modality,
            torch.cat([t.user for t in teachers], dim=1) / len(teachers),
            torch.cat([t.item for t in teachers], dim=1),
            data_fingerprint,
            {f'teacher_{i}': str(t.settings) for i, t in enumerate(teachers)},
        )

    @property
    def spread(self) -> float:
        r"""The standard deviation of its margins on random triples.

        For a random user :math:`u` and random items :math:`j, k` it is

        .. math::
            \sqrt{2 \, \mathrm{mean}_u \left( \mathbf{u}_u^{\top}
            \mathrm{Cov}(\mathbf{I}) \, \mathbf{u}_u \right)}
        """
        item = self.item.double() - self.item.double().mean(dim=0)
        covariance = item.t() @ item / len(item)  # [d, d]
        user = self.user.double()
        return float((2 * ((user @ covariance) * user).sum(1).mean()).sqrt())

    def rescaled(self, spread: float) -> Teacher:
        """Return the teacher with scores of another :attr:`spread`.

        Its ranking stays the same. The losses compare margins by size, so
        that a teacher of another architecture needs the scale of the student.

        Args:
            spread: The spread to have, such as that of another teacher.
        """
        return replace(self, user=self.user * (spread / self.spread))

    def evaluate(self, data: HeteroData, **kwargs: Any) -> dict[str, float]:
        """Return how well the teacher recommends.

        Args:
            data: The user-item graph.
            **kwargs: Arguments of :func:`pyg_ckd.evaluation.evaluate`.
        """
        return evaluate(FixedEmbeddings(self.user, self.item), data, **kwargs)

    def margin(self, user: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
        r"""Return the margins :math:`s(u, i) - s(u, j)` of triples, ``[N]``.

        Args:
            user: Users of shape ``[N]``.
            pos: The preferred items, of shape ``[N]``.
            neg: The other items, of shape ``[N]``.
        """
        preferred = F.embedding(pos, self.item) - F.embedding(neg, self.item)
        return (F.embedding(user, self.user) * preferred).sum(dim=-1)

    def crossed_margin(
        self, user: Tensor, pos: Tensor, neg: Tensor, size: int
    ) -> Tensor:
        """Return the margins of each user on the pairs of her whole group.

        Args:
            user: Users of shape ``[N]``.
            pos: The preferred items, of shape ``[N]``.
            neg: The other items, of shape ``[N]``.
            size: The number of consecutive triples in a group.

        Returns:
            Margins of shape ``[N * size]``.
        """
        preferred = F.embedding(pos, self.item) - F.embedding(neg, self.item)
        return crossed(F.embedding(user, self.user), preferred, size)

    def check(self, data: HeteroData, data_fingerprint: str) -> None:
        """Refuse data that the teacher was not trained on.

        Args:
            data: The data at hand.
            data_fingerprint: Its fingerprint.

        Raises:
            ValueError: If the data has other users, items, interactions or
                features, or lacks the modality.
        """
        if self.modality not in modalities(data):
            raise ValueError(
                f"The teacher of '{self.modality}' was given data with the "
                f'modalities {modalities(data)}'
            )
        if self.data_fingerprint != data_fingerprint:
            raise ValueError(
                f"The teacher of '{self.modality}' was trained on other data: "
                f'its fingerprint is {self.data_fingerprint[:12]}, that of '
                f'this data {data_fingerprint[:12]}. Train it on this data, '
                f'with the same split and features (its settings: '
                f'{self.settings})'
            )

    def to(self, device: torch.device | str) -> Teacher:
        """Return the teacher on another device."""
        return Teacher(
            self.modality,
            self.user.to(device),
            self.item.to(device),
            self.data_fingerprint,
            self.settings,
        )

    def save(self, path: str | Path) -> None:
        """Write the teacher to a file, whole or not at all.

        Args:
            path: The file.
        """
        temporary = Path(f'{path}.{os.getpid()}.tmp')
        try:
            torch.save(asdict(self.to('cpu')), temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Teacher:
        """Read a teacher from a file, without executing anything in it.

        Args:
            path: A file written by :meth:`save`.
        """
        return cls(**torch.load(path, weights_only=True))

    def __repr__(self) -> str:
        return (
            f"Teacher('{self.modality}', num_users={self.user.size(0)}, "
            f'num_items={self.item.size(0)}, dim={self.user.size(1)})'
        )
