"""What needs no second process; `tests/train/test_together.py` has two."""

import pytest
import torch

from pyg_ckd.kernels import Ranks


@pytest.mark.parametrize('size', [1, 2, 3, 5])
def test_parts(size):
    """They are equally long, and follow each other."""
    x = torch.randn(17, 2)
    parts = [Ranks(rank, size).part(x) for rank in range(size)]
    assert {len(part) for part in parts} == {17 // size}
    assert torch.equal(torch.cat(parts), x[: 17 // size * size])


def test_too_many():
    with pytest.raises(ValueError, match='5 processes cannot share 4 rows'):
        Ranks(0, 5).part(torch.ones(4))


def test_one_process_talks_to_nobody():
    """There is no process group."""
    ranks, x = Ranks(), torch.randn(3, requires_grad=True)
    assert ranks.gather(x) is x
    assert ranks.sum(x) is x
    assert ranks.min(x) is x
    assert ranks.values(7) == [7]
    state = torch.get_rng_state()
    ranks.share_generators(torch.device('cpu'))
    ranks.share_buffers(torch.nn.BatchNorm1d(2))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(('rank', 'size'), [(2, 2), (-1, 2), (0, 0)])
def test_no_such_process(rank, size):
    with pytest.raises(ValueError, match="'rank' needs to be from 0"):
        Ranks(rank, size)
