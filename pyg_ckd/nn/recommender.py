"""What the library asks of a recommender."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency
from pyg_ckd.views import Keep, Views, default_views


class Recommender(nn.Module):
    r"""All that the library asks of a recommender.

    A recommender is any module with

    .. code-block:: python

        user_emb, item_emb = model(data)  # [num_users, d], [num_items, d]

    and the score of user :math:`u` and item :math:`i` is the dot product of
    their rows. A module that offers only that is brought behind this interface
    by :func:`~pyg_ckd.nn.as_recommender`. One that inherits from this class
    may override what is declared here; our own are
    :class:`~pyg_ckd.nn.Backbone`\ s. Data is always complete: which
    modalities a view keeps is an argument.
    """

    #: The graph of users and items that a model needs, if it needs one. An
    #: instance may be given another one.
    adjacency: NormalizedAdjacency | None = None
    #: The item graphs that a model needs, if it needs any.
    neighbors: ItemKNN | None = None
    #: The transform that adds these graphs to a data set.
    pre_transform: ClassVar[BaseTransform | None] = None

    @property
    def is_sampled(self) -> bool:
        """Whether steps of training look at some users and items alone."""
        return False

    @property
    def num_hops(self) -> int | None:
        """How many edges away of a node is what its embedding depends on.

        It counts edges of the graph of users and items; edges of item graphs
        are one more, and only of the node itself. It is :obj:`None` for a
        model that has no such graph, or whose embeddings depend on all users
        and items, and that hence cannot be :class:`~pyg_ckd.nn.Sampled`.
        """
        return None

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views at once, sharing what they can share.

        By default each is a forward pass, with features ablated from outside.
        Whatever a model does instead has the same margins, rankings and
        gradients.

        Args:
            data: The user-item graph.
            keeps: The views, each a set of modalities to keep.
        """
        return default_views(self, data, keeps)

    def tables(self, modality: str) -> Sequence[nn.Parameter]:
        """Return the parameters that are ablated along with a modality.

        They have a row for each user or each item; a view that ablates the
        modality replaces each row by the mean over all. None by default.

        Args:
            modality: The modality.
        """
        return ()

    def modality_parameters(self, modality: str) -> list[nn.Parameter]:
        """Return the parameters that serve one modality alone.

        They are the entries under its name of all
        :class:`~torch.nn.ParameterDict` and :class:`~torch.nn.ModuleDict`.

        Args:
            modality: The modality.
        """
        found: list[nn.Parameter] = []
        for module in self.modules():
            if isinstance(module, nn.ModuleDict) and modality in module:
                found += module[modality].parameters()
            if isinstance(module, nn.ParameterDict) and modality in module:
                found.append(module[modality])
        return list(dict.fromkeys(found))

    def loss(
        self,
        data: HeteroData,
        keep: Keep,
        views: Views,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Tensor | None:
        """Return the loss that a model has in place of BPR, if it has one.

        Arguments are those of :meth:`regularization`, which is not called for
        a model with a loss of its own.
        """
        return None

    def regularization(
        self,
        data: HeteroData,
        keep: Keep,
        views: Views,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Tensor | float:
        """Return the loss terms that a model adds, none by default.

        Args:
            data: The user-item graph.
            keep: The trained view.
            views: What :meth:`views` returned, the trained view first.
            user: The users of a batch, of shape ``[N]``.
            pos: Their preferred items, of shape ``[N]``.
            neg: Their other items, of shape ``[N]``.
        """
        return 0.0

    def start_epoch(self, data: HeteroData, keep: Keep) -> None:
        """Prepare an epoch of training, nothing by default.

        Args:
            data: The user-item graph.
            keep: The trained view.
        """

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.__class__.__name__
