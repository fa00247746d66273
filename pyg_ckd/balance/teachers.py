"""The teachers of a balance, by the view that each of them teaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch_geometric.data import HeteroData

from pyg_ckd.balance.balance import Teach
from pyg_ckd.balance.teacher import Teacher
from pyg_ckd.graph import fingerprint, modalities
from pyg_ckd.views import Keep, check_view, only, view_name


class Teachers(Mapping[Keep, Teacher]):
    """Teachers by the view that each of them teaches.

    With none given, there is one for each modality, which is trained first.

    Args:
        given (dict[frozenset[str], Teacher], optional): The teachers.
            (default: :obj:`None`)

    Example:
        >>> list(Teachers())
        []
    """

    def __init__(self, given: Mapping[Keep, Teacher] | None = None) -> None:
        self._teachers = dict(given or {})

    def attach(self, data: HeteroData) -> None:
        """Check the teachers that are there.

        Args:
            data: The user-item graph.

        Raises:
            ValueError: If a key is no view of the data, or a teacher was
                trained on other data.
        """
        for keep, teacher in self._teachers.items():
            if not isinstance(keep, frozenset):
                raise ValueError(
                    f"'teachers' needs the view that each teaches as its key, "
                    f"such as only('text') (got {keep!r})"
                )
            check_view(keep, data)
            if not isinstance(teacher, Teacher):
                raise ValueError(
                    f"'teachers' needs a Teacher for each view, such as "
                    f"Teacher.from_model(model, data, only('text')) (got "
                    f'{type(teacher).__name__})'
                )
        if self._teachers:
            current = fingerprint(data)
            for teacher in self._teachers.values():
                teacher.check(current)

    def prepare(self, teach: Teach, data: HeteroData) -> None:
        """Train a teacher for each modality, if none is there.

        Args:
            teach: Trains a copy of the model in one view, and returns it.
            data: The user-item graph.
        """
        if not self._teachers:
            for m in modalities(data):
                model = teach(only(m))
                self._teachers[only(m)] = Teacher.from_model(
                    model, data, only(m)
                )

    def begin(self, data: HeteroData, owner: str) -> None:
        """Move the teachers to where the data is.

        Args:
            data: The user-item graph.
            owner: Who asks, for messages.

        Raises:
            ValueError: If there are no teachers.
        """
        if not self._teachers:
            raise ValueError(
                f"'{owner}' has no teachers yet: pass those of 'fit_teachers', "
                f"or use 'fit', which trains them first"
            )
        x = data['item'][f'x_{modalities(data)[0]}']
        self._teachers = {
            keep: teacher.to(x.device).to(x.dtype)
            for keep, teacher in self._teachers.items()
        }

    def level(self, data: HeteroData) -> dict[Keep, float]:
        """Return the validation Recall@20 of each teacher.

        Args:
            data: The user-item graph.
        """
        return {
            keep: teacher.evaluate(
                data, split='val', ks=(20,), metrics=('recall',)
            )['recall@20']
            for keep, teacher in self._teachers.items()
        }

    def state(self) -> list[dict[str, Any]]:
        """Return all of them as plain values, to be saved."""
        return [
            {'view': sorted(keep), 'teacher': teacher.to('cpu').state()}
            for keep, teacher in self._teachers.items()
        ]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Take up teachers that were saved.

        Args:
            state: What :meth:`state` returned.
        """
        device = torch.device('cpu')
        for teacher in self._teachers.values():
            device = teacher.user.device
        self._teachers = {
            frozenset(each['view']): Teacher(**each['teacher']).to(device)
            for each in state
        }

    def __getitem__(self, keep: Keep) -> Teacher:
        return self._teachers[keep]

    def __iter__(self) -> Iterator[Keep]:
        return iter(self._teachers)

    def __len__(self) -> int:
        return len(self._teachers)

    def __repr__(self) -> str:
        names = sorted({m for keep in self._teachers for m in keep})
        return repr([view_name(keep, names) for keep in self._teachers])
