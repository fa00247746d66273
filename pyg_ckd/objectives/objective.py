"""What a step of training minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from pyg_ckd.objectives.step import Step


class Objective(ABC):
    """What a step minimises for the view that is trained.

    An objective has settings and no state, so that one can serve several
    tasks. What a model itself adds to the loss, and what a balance adds, is
    not its business.
    """

    @abstractmethod
    def loss(self, step: Step) -> Tensor:
        """Return the loss of the trained view, a scalar.

        Args:
            step: What the step looks at; the trained view is the first.
        """
