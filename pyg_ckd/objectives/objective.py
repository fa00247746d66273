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

    One of your own is a frozen dataclass with a :meth:`loss`: it is compared,
    copied and written into logs, so that equal settings are equal and
    ``repr`` says how to make it again. The loss has at least 32 bits, under
    autocast as well. :class:`~pyg_ckd.testing.ObjectiveSuite` tests all that.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class MarginLoss(Objective):
        ...     size: float = 1.0
        ...
        ...     def loss(self, step: Step) -> Tensor:
        ...         margin = step.margin[:, 0]  # of the trained view, [B]
        ...         dtype = torch.promote_types(margin.dtype, torch.float)
        ...         return (self.size - margin.to(dtype)).relu().mean()
        >>> MarginLoss(size=0.5)
        MarginLoss(size=0.5)
    """

    @abstractmethod
    def loss(self, step: Step) -> Tensor:
        """Return the loss of the trained view, a scalar.

        Args:
            step: What the step looks at; the trained view is the first.
        """
