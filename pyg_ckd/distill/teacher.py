"""A frozen teacher of one modality."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.data import fingerprint, modalities
from pyg_ckd.evaluation import evaluation
from pyg_ckd.views import crossed, only, views

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
    ) -> Teacher:
        """Freeze the view of a model that sees one modality only.

        Args:
            model: A trained recommender.
            data: The data it was trained on, not ablated.
            modality: The modality that the view keeps.
            settings: How the model was trained, for the record.

        Raises:
            ValueError: If the data has no such modality.
        """
        with evaluation(model):
            user, item = views(model, data, [only(modality)]).embedding()
        return cls(
            modality,
            user.clone(),
            item.clone(),
            fingerprint(data),
            {'model': repr(model), **(settings or {})},
        )

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
