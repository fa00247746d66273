"""Teachers whose users are shared out among processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.balance import Teacher
from pyg_ckd.nn.row_shards import Lookup, RowShards
from pyg_ckd.train.own_users import evaluate_own
from pyg_ckd.views import crossed


@dataclass(frozen=True, eq=False)
class ShardedTeacher(Teacher):
    """A teacher of which a process has the own users, and all items.

    All processes have to call its methods together.

    Args:
        user (Tensor): The embeddings of the own users.
        item (Tensor): The embeddings of all items.
        data_fingerprint (str): See :class:`~pyg_ckd.balance.Teacher`.
        settings (dict, optional): See :class:`~pyg_ckd.balance.Teacher`.
        users (RowShards): How users are shared out.
    """

    users: RowShards = field(kw_only=True)

    @classmethod
    def of(
        cls, teacher: Teacher, users: RowShards, device: torch.device
    ) -> ShardedTeacher:
        """Cut a teacher, unless it has been cut.

        Args:
            teacher: The teacher, of all users or of the own ones, which are
                what training and checkpoints leave. Of one of all users, only
                that of the first process counts.
            users: How users are shared out.
            device: The device of this process.
        """
        if isinstance(teacher, ShardedTeacher):
            return teacher
        state = teacher.state()
        if len(teacher.user) == users.num_rows:
            state['user'] = users.scattered(teacher.user, device)
            state['item'] = teacher.item.to(device, copy=True)
            dist.broadcast(state['item'], 0)
        return cls(**state, users=users)

    def margin(
        self, user: Tensor, pos: Tensor, neg: Tensor, group_size: int = 1
    ) -> Tensor:
        """Return the margins of triples, with rows of users fetched."""
        preferred = F.embedding(pos, self.item) - F.embedding(neg, self.item)
        rows = Lookup(self.users).rows(self.user, user)
        return crossed(rows, preferred, group_size)

    def evaluate(self, data: HeteroData, **kwargs: Any) -> dict[str, float]:
        """Return what :func:`evaluate_own` says of it."""
        return evaluate_own(
            self.users, self.user, self.item, data, 'a teacher', **kwargs
        )
