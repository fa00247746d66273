"""The teachers of a balance, by the view that each of them teaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.balance.balance import Teach
from pyg_ckd.balance.teacher import Teacher
from pyg_ckd.graph import fingerprint, modalities
from pyg_ckd.views import Keep, check_view, only, view_name


class Teachers(Mapping[Keep, Teacher]):
    """Teachers by the view that each of them teaches.

    With none given, there is one for each modality, which is trained first.
    They stay as they were given or trained: :attr:`at_work` are copies of them
    where the data is, and in its precision.

    Args:
        given (dict[frozenset[str], Teacher], optional): The teachers.
            (default: :obj:`None`)

    Raises:
        ValueError: If it is no dictionary of views and teachers, or empty.

    Example:
        >>> Teachers()
        Teachers()
    """

    def __init__(self, given: Mapping[Keep, Teacher] | None = None) -> None:
        if given is not None:
            _check_given(given)
        self._fingerprint: str | None = None
        self._names: list[str] = []
        self._like: Tensor | None = None
        self._set(dict(given or {}))

    def attach(self, data: HeteroData) -> None:
        """Check the teachers that are there.

        Args:
            data: The user-item graph.

        Raises:
            ValueError: If a key is no view of the data, or a teacher was
                trained on other data or does not tell items apart.
        """
        self._fingerprint = fingerprint(data)
        for keep, teacher in self._teachers.items():
            check_view(keep, data)
            teacher.check(data, self._fingerprint)
            if not teacher.spread > 0:
                raise ValueError(
                    f'The teacher of {view_name(keep, modalities(data))} has '
                    f'the same score for all items, so that it teaches '
                    f'nothing: train it again, or leave it out'
                )
        self._names = names = modalities(data)
        in_order = sorted(  # results do not depend on the one given
            self._teachers.items(),
            key=lambda pair: [name not in pair[0] for name in names],
        )
        self._set(dict(in_order))

    def prepare(self, teach: Teach, data: HeteroData) -> None:
        """Train a teacher for each modality, if none is there.

        Args:
            teach: Trains a copy of the model in one view, and returns it.
            data: The user-item graph.
        """
        if not self._teachers:
            # All or none, lest what was interrupted is taken for whole:
            self._set(
                {
                    keep: Teacher.from_model(teach(keep), data, keep)
                    for keep in map(only, modalities(data))
                }
            )

    def begin(self, data: HeteroData, owner: str) -> None:
        """Make :attr:`at_work` fit the data.

        Args:
            data: The user-item graph.
            owner: Who asks, for messages.

        Raises:
            ValueError: If there are no teachers.
        """
        self.require(owner)
        x = data['item'][f'x_{modalities(data)[0]}']
        self._like = x.new_empty(0)
        self._set(self._teachers)

    def _set(self, teachers: dict[Keep, Teacher]) -> None:
        """Take teachers up, and copy them to where they are needed."""
        self._teachers, like = teachers, self._like
        #: What a step uses.
        self.at_work = teachers
        if like is not None:
            self.at_work = {
                keep: teacher.to(like.device).to(like.dtype)
                for keep, teacher in teachers.items()
            }

    def replace(self, change: Callable[[Teacher], Teacher]) -> None:
        """Put something else in the place of each teacher.

        Args:
            change: Makes it of a teacher.
        """
        self._set({keep: change(t) for keep, t in self._teachers.items()})

    def require(self, owner: str) -> None:
        """Raise a ``ValueError`` if there are no teachers.

        Args:
            owner: Who asks, for messages.
        """
        if not self._teachers:
            raise ValueError(
                f"'{owner}' has no teachers yet: pass those of 'fit_teachers', "
                f"or use 'fit', which trains them first"
            )

    def level(self, data: HeteroData) -> dict[Keep, float]:
        """Return the validation Recall@20 of each teacher.

        Args:
            data: The user-item graph.
        """
        return {
            keep: teacher.evaluate(
                data, split='val', ks=(20,), metrics=('recall',)
            )['recall@20']
            for keep, teacher in self.at_work.items()
        }

    def state(self) -> list[dict[str, Any]]:
        """Return all of them as plain values, to be saved."""
        return [
            {'view': sorted(keep), 'teacher': teacher.state()}
            for keep, teacher in self._teachers.items()
        ]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Take up teachers that were saved.

        Args:
            state: What :meth:`state` returned.

        Raises:
            ValueError: If they were trained on other data than that at hand.
        """
        loaded = {
            frozenset(each['view']): Teacher(**each['teacher'])
            for each in state
        }
        for teacher in loaded.values():
            if self._fingerprint not in (None, teacher.data_fingerprint):
                raise ValueError(
                    f'A checkpoint holds teachers of other data: its '
                    f'fingerprint is {teacher.data_fingerprint[:12]}, that of '
                    f'this data {self._fingerprint[:12]}'
                )
        self._set(loaded)

    def __getitem__(self, keep: Keep) -> Teacher:
        return self._teachers[keep]

    def __iter__(self) -> Iterator[Keep]:
        return iter(self._teachers)

    def __len__(self) -> int:
        return len(self._teachers)

    def __repr__(self) -> str:
        names = self._names
        views = [
            view_name(k, names) if names else f'only({", ".join(sorted(k))})'
            for k in self
        ]
        return f'Teachers({", ".join(views)})'


def _check_given(given: Mapping[Keep, Teacher]) -> None:
    """Refuse what is no dictionary of views and teachers."""
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            f"'teachers' needs a dictionary such as {{only('text'): teacher}}, "
            f'or None to have one trained for each modality (got '
            f'{"an empty " if given == {} else "a "}{type(given).__name__})'
        )
    for keep, teacher in given.items():
        if not isinstance(keep, frozenset):
            name = keep if isinstance(keep, str) else 'text'
            raise ValueError(
                f"'teachers' needs the view that each teaches as its key: "
                f"write only('{name}') (got {keep!r})"
            )
        if not isinstance(teacher, Teacher):
            raise ValueError(
                f"'teachers' needs a Teacher for each view, such as "
                f'Teacher.from_model(model, data, view) (got a '
                f'{type(teacher).__name__})'
            )
