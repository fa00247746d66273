"""What our own recommenders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, TypeVar, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from typing_extensions import ParamSpec, Self

from pyg_ckd.graph import check, modalities
from pyg_ckd.kernels.arguments import Range, check_number, check_whole
from pyg_ckd.kernels.sparse import Graph, Uniform
from pyg_ckd.nn.recommender import Recommender

Made = TypeVar('Made')
Settings = ParamSpec('Settings')


class Backbone(Recommender):
    r"""What our own recommenders share: sizes, features and graphs.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int): The size of an embedding.
        train_features (bool, optional): Whether to fine-tune the features of
            the items, as much published code does: a table of offsets
            ``[num_items, num_features]`` for each modality is learned and
            added to them. (default: :obj:`False`)

    Raises:
        ValueError: If a size is not positive.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int,
        train_features: bool = False,
    ) -> None:
        super().__init__()
        sizes = {f'in_channels[{m!r}]': n for m, n in in_channels.items()}
        self.check_positive(
            num_users=num_users, num_items=num_items, dim=dim, **sizes
        )
        self.num_users = num_users
        self.num_items = num_items
        self.in_channels = dict(in_channels)
        self.dim = dim
        self.offset = nn.ParameterDict()
        if train_features:
            self.offset.update(
                {
                    m: nn.Parameter(torch.zeros(num_items, size))
                    for m, size in in_channels.items()
                }
            )

    # By these, type checkers know the arguments of each model, and those that
    # all have where they know no more than that it is a `type[Backbone]`:
    @overload
    @classmethod
    def from_data(
        cls: Callable[Concatenate[int, int, Mapping[str, int], Settings], Made],
        data: HeteroData,
        use: Sequence[str] | None = None,
        *args: Settings.args,
        **kwargs: Settings.kwargs,
    ) -> Made: ...
    @overload
    @classmethod
    def from_data(
        cls,
        data: HeteroData,
        use: Sequence[str] | None = None,
        *,
        dim: int = ...,
        train_features: bool = ...,
    ) -> Self: ...
    @classmethod
    def from_data(
        cls: Any,
        data: HeteroData,
        use: Sequence[str] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Create a model with the sizes of ``data``.

        Args:
            data: The user-item graph.
            use: The modalities to use; all that ``data`` has by default.
            *args: Further arguments of the model.
            **kwargs: The same by name, such as ``dim``.

        Raises:
            ValueError: If ``data`` lacks a modality to use.
        """
        data = check(data)
        names = modalities(data) if use is None else use
        if isinstance(names, str) or not set(names) <= set(modalities(data)):
            raise ValueError(
                f"'use' needs to be a list of some of {modalities(data)} in "
                f"'{cls.__name__}' (got {use!r})"
            )
        sizes = {name: data['item'][f'x_{name}'].size(1) for name in names}
        return cls(
            data['user'].num_nodes,
            data['item'].num_nodes,
            sizes,
            *args,
            **kwargs,
        )

    def tables(self, modality: str) -> Sequence[nn.Parameter]:
        """Return the parameters that are ablated along with a modality.

        They have a row for each user or each item; a view that ablates the
        modality replaces each row by the mean over all.

        Args:
            modality: The modality.
        """
        return [self.offset[modality]] if modality in self.offset else []

    @property
    def train_features(self) -> bool:
        """Whether offsets to the features are learned."""
        return len(self.offset) > 0

    @property
    def num_nodes(self) -> int:
        """The number of users and items together."""
        return self.num_users + self.num_items

    def check_positive(self, **arguments: int) -> None:
        """Raise a ``ValueError`` that names no whole number from 1 on."""
        check_whole(self.__class__.__name__, **arguments)

    def check_count(self, **arguments: int) -> None:
        """Raise a ``ValueError`` that names no whole number from 0 on."""
        check_whole(self.__class__.__name__, 0, **arguments)

    def check_number(self, wanted: Range, **arguments: float) -> None:
        """Raise a ``ValueError`` that names what is out of range."""
        check_number(self.__class__.__name__, wanted, **arguments)

    def features(
        self, data: HeteroData, modality: str, index: Tensor | None = None
    ) -> Tensor:
        """Return the features of items, ``[num_items, num_features]``.

        Args:
            data: The user-item graph.
            modality: The modality.
            index: The items, all by default.
        """
        tables = [data['item'][f'x_{modality}']]
        if modality in self.offset:
            tables.append(self.offset[modality])
        if index is not None:
            tables = [F.embedding(index, table) for table in tables]
        return sum(tables[1:], start=tables[0])

    def user_item_graph(self, data: HeteroData) -> Graph:
        """Return the graph of users and items that the model propagates over.

        Args:
            data: The user-item graph.

        Raises:
            ValueError: If ``data`` lacks it.
        """
        assert self.adjacency is not None
        with self._naming():
            return self.adjacency.of(data)

    def item_item_graph(
        self, data: HeteroData, modality: str
    ) -> Graph | Uniform:
        """Return the item graph of a modality.

        It is the :class:`~pyg_ckd.kernels.Uniform` one if the modality is
        ablated: all items look alike then, and each gets the mean over all.

        Args:
            data: The user-item graph.
            modality: The modality.

        Raises:
            ValueError: If ``data`` lacks it.
        """
        assert self.neighbors is not None
        with self._naming():
            return self.neighbors.of(data, modality)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Tell who needs a graph that is missing, and how to add it."""
        name = self.__class__.__name__
        try:
            yield
        except ValueError as error:
            raise ValueError(
                f"'{name}' needs a graph: {error}. What '{name}' needs by "
                f'default is added by data = {name}.pre_transform(data), or '
                f'by pre_transform={name}.pre_transform of a data set'
            ) from None

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{self.num_users}, {self.num_items}, {self.in_channels}, '
            f'dim={self.dim}'
        )

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.extra_repr()})'
