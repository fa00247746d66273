from collections.abc import Callable

import pytest
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency

NAMES = ['image', 'text', 'audio']


@pytest.fixture
def graph() -> Callable[[int], HeteroData]:
    """Makes a tiny graph with so many modalities, ready for any backbone."""

    def make(num_modalities: int = 2, with_graphs: bool = True) -> HeteroData:
        names = NAMES[:num_modalities]
        transform = Compose([NormalizedAdjacency(), ItemKNN(k=3)])
        return FakeMultimodal(
            num_users=12,
            num_items=9,
            num_interactions=6,
            num_channels=5,
            taste=dict.fromkeys(names, 1.0),
            noise=dict.fromkeys(names, 1.0),
            pre_transform=transform if with_graphs else None,
        )[0]

    return make
