import pytest
import torch

from pyg_ckd.datasets._description import neighbors
from pyg_ckd.datasets._description.equal_rows import equal_rows
from pyg_ckd.datasets._description.neighbors import (
    mean_cosine,
    nearest,
    with_direction,
)
from pyg_ckd.datasets._description.sample import sample
from pyg_ckd.transforms.item_knn import nearest_neighbors


@pytest.fixture(params=[7, 4096])
def block(request, monkeypatch):
    monkeypatch.setattr(neighbors, 'BLOCK', request.param)


def test_neighbors_are_those_of_item_knn(block):
    x = torch.randn(50, 8)
    edges, cosine = nearest_neighbors(x, k=6)
    found, value = nearest(x, torch.arange(50), torch.arange(50), k=5)
    assert torch.equal(found, edges[0].view(50, 6)[:, 1:])
    assert torch.allclose(value, cosine.view(50, 6)[:, 1:], atol=1e-6)


def test_equal_cosines_are_ordered_by_item(block):
    x = torch.tensor([1.0, 0.0]).expand(40, 2)
    found, value = nearest(x, torch.tensor([2, 30]), torch.arange(40), k=4)
    assert found.tolist() == [[0, 1, 3, 4], [0, 1, 2, 3]]
    assert (value == 1).all()


def test_only_some_may_be_neighbors(block):
    x = torch.randn(40, 4)
    among = torch.arange(0, 40, 3)
    found, _ = nearest(x, among[:5], among, k=100)
    for item, row in zip(among[:5].tolist(), found.tolist(), strict=True):
        assert sorted([item, *row]) == among.tolist()


@pytest.mark.parametrize('scale', [1e-30, 1e18])
def test_extreme_scales(scale):
    x = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]) * scale
    found, cosine = nearest(x, torch.arange(3), torch.arange(3), k=1)
    assert found.flatten().tolist() == [1, 0, 1]
    assert cosine.isfinite().all()


def test_what_has_a_direction(block):
    x = torch.ones(20, 2)
    x[3] = 0
    has = torch.arange(20) != 5
    assert with_direction(x, None).tolist() == [i for i in range(20) if i != 3]
    assert 5 not in with_direction(x, has).tolist()


def test_mean_cosine(block):
    x = torch.randn(30, 4) + 1
    among = torch.arange(0, 30, 2)
    own = torch.nn.functional.normalize(x[among].double(), dim=1)
    every = own @ own.t()
    mean = (every.sum() - every.trace()) / (15 * 14)
    assert mean_cosine(x, among) == pytest.approx(mean.item(), abs=1e-6)


@pytest.mark.parametrize(
    'dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
def test_equal_rows(dtype):
    x = torch.randn(60, 5).to(dtype)
    x[[3, 40, 59]] = x[10].clone()
    x[7] = x[2]
    x[8] = 0.0
    x[9] = -0.0  # Equal, but not to the bit.
    every = torch.arange(60)
    assert equal_rows(x, every) == [[3, 10, 40, 59], [2, 7]]
    assert equal_rows(x, every[every != 10])[0] == [3, 40, 59]
    assert equal_rows(x, every[:1]) == equal_rows(x, every[:0]) == []


def test_sample_is_of_all_degrees():
    degree = torch.randperm(800)
    among = (degree > 0).nonzero().flatten()
    drawn = sample(among, degree)
    assert torch.equal(drawn, sample(among, degree))
    assert (degree[drawn] // 100).tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    assert sample(among[:3], degree).sort().values.tolist() == [0, 1, 2]
    assert sample(among[:0], degree).tolist() == []
