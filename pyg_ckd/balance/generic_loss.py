"""What views are taught on users drawn at random."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.balance.teacher import Teacher
from pyg_ckd.graph import RATES
from pyg_ckd.kernels.arguments import check_number
from pyg_ckd.objectives.step import Batch, Step


class GenericLoss(nn.Module, ABC):
    """A generic distillation loss: what views are taught on random users.

    It is a part of :class:`~pyg_ckd.balance.CKD`, which works on a copy of it.
    Hooks are called in the order in which they stand here, the first once a
    training, the others in each step. Its ``repr`` holds its settings.

    Args:
        weight (float): The weight of the loss beside the one on the batch.

    Raises:
        ValueError: If ``weight`` is negative.

    Example:
        >>> import torch
        >>> class SquaredMargins(GenericLoss):
        ...     def draw(self) -> Batch:
        ...         one, other = torch.randint(
        ...             self.num_items, (2, len(self.users)))
        ...         return self.users, one, other
        ...
        ...     def losses(self, step, places, teachers):
        ...         student = step.random_triples.margin()[:, places]  # [N, T]
        ...         taught = [t.margin(*step.random) for t in teachers]
        ...         return (student - torch.stack(taught, 1)).square().mean(0)
        ...
        ...     def extra_repr(self) -> str:
        ...         return f'weight={self.weight}'
        >>> from pyg_ckd.balance import CKD
        >>> CKD(on_random=SquaredMargins(weight=0.5)).on_random
        SquaredMargins(weight=0.5)
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        check_number(self.__class__.__name__, 'at least 0', weight=weight)
        self.weight = weight

    def attach(self, data: HeteroData) -> None:
        """Check that the loss applies, and remember whom it is drawn from.

        Args:
            data: The user-item graph.

        Raises:
            ValueError: If it does not apply.
        """
        self.num_items = int(data['item'].num_nodes)
        self.users = data[RATES].edge_index[0].unique()

    def begin(self, data: HeteroData, teachers: Sequence[Teacher]) -> None:
        """Start training.

        Args:
            data: The user-item graph, on the device of the model.
            teachers: The teachers, one for each view that is taught.
        """
        self.users = self.users.to(data[RATES].edge_index.device)

    def draw(self) -> Batch | None:
        """Draw triples whose margins the loss needs, none by default."""
        return None

    @abstractmethod
    def losses(
        self, step: Step, places: Sequence[int], teachers: Sequence[Teacher]
    ) -> Tensor:
        """Return the loss of each view that is taught, ``[T]``.

        Args:
            step: What the step looks at.
            places: The position of each of these views in the step.
            teachers: Their teachers.
        """
