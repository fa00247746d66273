from collections.abc import Callable, Iterable

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd.balance import Teacher
from pyg_ckd.graph import modalities
from pyg_ckd.views import Keep, only


@pytest.fixture
def random_teachers() -> Callable[..., dict[Keep, Teacher]]:
    """Makes teachers of several widths that were never trained.

    By default there is one for each modality.
    """

    def make(
        data: HeteroData, keeps: Iterable[Keep] | None = None
    ) -> dict[Keep, Teacher]:
        keeps = map(only, modalities(data)) if keeps is None else keeps
        return {
            keep: Teacher.from_embeddings(
                torch.randn(data['user'].num_nodes, width),
                torch.randn(data['item'].num_nodes, width),
                data,
            )
            for width, keep in enumerate(keeps, start=3)
        }

    return make
