"""Ways to keep modalities in balance."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.nn import Recommender
from pyg_ckd.objectives.step import Batch, Step
from pyg_ckd.views import Keep

#: Trains a copy of the model in one view, and returns it.
Teach = Callable[[Keep], Recommender]


class Balance(nn.Module, ABC):
    """What training does to keep the modalities of a recommender in balance.

    A balance joins the steps of :class:`~pyg_ckd.train.Recommendation` by the
    hooks below, all of which do nothing by default. A hook is called in the
    order in which it stands here. What a balance learns is kept in parameters,
    buffers and ``get_extra_state``, so that it is saved with checkpoints.

    Each task works on a copy of its own, so that one object serves several.
    Its ``repr`` holds its settings, all of them and nothing else, for training
    is resumed with the same alone: ``extra_repr`` returns them.
    """

    def attach(self, recommender: Recommender, data: HeteroData) -> None:
        """Check that the balance applies, and remember what it needs.

        Args:
            recommender: What will be trained. It is not to be kept as an
                attribute, which would make it a part of this module.
            data: The user-item graph.

        Raises:
            ValueError: If it does not apply; it says why.
        """

    @property
    def teacher_views(self) -> Sequence[Keep]:
        """The views that :meth:`prepare` has models trained in.

        Several processes share them out, and train them at the same time. One
        that is not named here is trained by the first process, while the
        others wait.
        """
        return ()

    def prepare(self, teach: Teach) -> None:
        """Train what is needed before training, such as teachers.

        Args:
            teach: Trains a copy of the model in one view, with the settings
                of the task, and returns it.
        """

    def begin(self, data: HeteroData) -> None:
        """Start training.

        Args:
            data: The user-item graph, on the device of the model.
        """

    def trained_view(self, keep: Keep) -> Keep:
        """Return the view that the objective trains in the next step.

        Args:
            keep: The view of the task.
        """
        return keep

    @property
    def keeps(self) -> Sequence[Keep]:
        """The further views that a step computes."""
        return ()

    @property
    def watched(self) -> Sequence[Keep]:
        """The views whose validation Recall@20 :meth:`validated` needs."""
        return ()

    @property
    def needs_validation(self) -> bool:
        """Whether training without evaluations is another training."""
        return False

    def triples(self) -> Batch | None:
        """Draw further triples for the next step, none by default."""
        return None

    def loss(self, step: Step) -> tuple[Tensor | float, dict[str, Tensor]]:
        """Return what is added to the loss, and scalars to log.

        Args:
            step: What the step looks at.
        """
        return 0.0, {}

    def after_backward(self) -> None:
        """Change the gradients of a step.

        Where several processes train together, they all have the mean of the
        gradients of all, and have to change it alike: what depends on the
        batch is to be summed over ``step.ranks`` in :meth:`loss` or here.
        """

    def validated(self, values: Mapping[str, float]) -> None:
        """Learn from an evaluation.

        Args:
            values: Validation metrics, such as ``val_recall@20`` and, of
                :attr:`watched` views, ``val_recall@20/only(text)``.
        """

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.extra_repr()})'
