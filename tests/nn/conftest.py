from collections.abc import Callable

import pytest
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_ckd.testing import fake_graph
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency


@pytest.fixture
def graph() -> Callable[..., HeteroData]:
    """Makes a tiny graph with so many modalities, ready for any backbone."""

    def make(num_modalities: int = 2, with_graphs: bool = True) -> HeteroData:
        transform = Compose([NormalizedAdjacency(), ItemKNN(k=3)])
        return fake_graph(
            num_modalities, pre_transform=transform if with_graphs else None
        )

    return make
