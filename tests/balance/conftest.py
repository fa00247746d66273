import copy
from collections.abc import Callable, Iterable

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd.balance import Teacher
from pyg_ckd.graph import modalities
from pyg_ckd.train.losses import compute_losses
from pyg_ckd.views import Keep, full, only


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


@pytest.fixture
def assert_parts_equal_whole() -> Callable[..., None]:
    """Compares a step on a batch with one on its halves.

    A third batch is looked at in between, without training on it.
    """

    def check(suite, balance, model, data) -> None:
        batch, stranger = suite.batch(), suite.batch()
        halves = list(zip(*(x.chunk(2) for x in batch), strict=True))
        results = []
        for parts in ([batch], halves):
            own, twin = copy.deepcopy((balance, model))
            twin.zero_grad()
            for part in parts:
                losses = compute_losses(
                    twin, data, full(own.names), None, own, part
                )
                # Scaled as for half precision, and by the number of parts:
                (8 * losses.total / len(parts)).backward()
                compute_losses(twin, data, full(own.names), None, own, stranger)
            text = twin.preference['text'].grad
            plain = text.clone()
            own.after_backward()
            assert not torch.allclose(text, plain)  # it does change something
            grads = {name: p.grad for name, p in twin.named_parameters()}
            results.append((own.state_dict(), grads))
        torch.testing.assert_close(*results)

    return check
