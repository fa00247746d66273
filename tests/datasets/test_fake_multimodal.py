import pytest
import torch
from torch_geometric.data import InMemoryDataset

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATED_BY, RATES, check, modalities
from pyg_ckd.transforms import NormalizedAdjacency

SPLITS = ['edge_index', 'val_edge_label_index', 'test_edge_label_index']
SIZES = {'num_users': 30, 'num_items': 20}


def pairs(data, split):
    result = list(map(tuple, data[RATES][split].t().tolist()))
    assert len(result) == len(set(result))
    return set(result)


def tensors(data):
    return {
        **{split: data[RATES][split] for split in SPLITS},
        **{m: data['item'][f'x_{m}'] for m in modalities(data)},
    }


def test_default():
    data_set = FakeMultimodal()
    assert isinstance(data_set, InMemoryDataset)
    assert len(data_set) == 1
    data = data_set[0]
    assert data.validate()
    assert (data['user'].num_nodes, data['item'].num_nodes) == (1000, 500)
    assert modalities(data) == ['image', 'text']
    for m in ('image', 'text'):
        x = data['item'][f'x_{m}']
        assert x.shape == (500, 32)
        assert x.dtype == torch.float
        assert torch.isfinite(x).all()
    sizes = [data[RATES][split].size(1) for split in SPLITS]
    assert sizes == [10 * 1000, 1000, 1000]


@pytest.mark.parametrize(
    ('num_interactions', 'held_out'), [(3, 1), (10, 1), (19, 1), (20, 2)]
)
def test_splits(num_interactions, held_out):
    data = FakeMultimodal(
        num_users=30, num_items=25, num_interactions=num_interactions
    )[0]
    train, val, test = (pairs(data, split) for split in SPLITS)
    assert not train & val
    assert not train & test
    assert not val & test
    for user in range(30):
        count = [sum(u == user for u, _ in s) for s in (train, val, test)]
        assert count == [num_interactions - 2 * held_out, held_out, held_out]
    for split in SPLITS:
        user, item = data[RATES][split]
        assert user.dtype == item.dtype == torch.long
        assert item.min() >= 0
        assert item.max() < 25
    assert torch.equal(
        data[RATED_BY].edge_index, data[RATES].edge_index.flip(0)
    )


def test_no_user_knows_all_items():
    data = FakeMultimodal(num_users=5, num_items=6, num_interactions=100)[0]
    known = [pairs(data, split) for split in SPLITS]
    assert sum(map(len, known)) == 5 * 5


def test_seed():
    first = tensors(FakeMultimodal(**SIZES, seed=3)[0])
    torch.manual_seed(0)
    state = torch.get_rng_state()
    second = tensors(FakeMultimodal(**SIZES, seed=3)[0])
    other = tensors(FakeMultimodal(**SIZES, seed=4)[0])
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
        if 'edge' not in key or key == 'edge_index':
            assert not torch.equal(value, other[key]), key
    # The state of others is left alone:
    assert torch.equal(torch.get_rng_state(), state)


def test_three_modalities():
    data = FakeMultimodal(
        **SIZES,
        taste={'image': 0.5, 'text': 1.0, 'audio': 0.2},
        noise={'audio': 0.1, 'image': 1.0, 'text': 0.25},
        num_channels=7,
    )[0]
    assert modalities(data) == ['image', 'text', 'audio']
    for m in modalities(data):
        assert data['item'][f'x_{m}'].shape == (20, 7)


def test_noise():
    clear, blurred = (
        FakeMultimodal(
            num_items=200,
            taste={'a': 1.0, 'b': 1.0},
            noise={'a': noise, 'b': 0.0},
            rank=3,
        )[0]['item']
        for noise in (0.0, 0.5)
    )
    assert torch.equal(clear.x_b, blurred.x_b)
    clear, blurred = clear.x_a, blurred.x_a
    # As many dimensions as tastes have, unless blurred:
    assert torch.linalg.matrix_rank(clear) == 3
    assert torch.linalg.matrix_rank(blurred) == 32
    assert (blurred - clear).std().item() == pytest.approx(0.5, rel=0.05)


def test_split_is_random():
    """What is held out is neither more nor less likely than the rest."""
    data = FakeMultimodal(popularity=2.0, scale=0.0)[0]
    items = [data[RATES][split][1] for split in SPLITS]
    popularity = torch.bincount(torch.cat(items)).float()
    train, val, test = (popularity[item].mean().item() for item in items)
    assert val == pytest.approx(train, rel=0.1)
    assert test == pytest.approx(train, rel=0.1)


def test_popularity():
    def spread(popularity):
        data = FakeMultimodal(popularity=popularity, scale=0.0)[0]
        return torch.bincount(data[RATES].edge_index[1]).float().std().item()

    # Without it, as by chance: a binomial with 1,000 draws of 10 in 500
    assert spread(0.0) == pytest.approx((1000 * 0.02 * 0.98) ** 0.5, rel=0.15)
    assert spread(1.0) > 3 * spread(0.0)


def auc(data, x):
    """How well held-out items are told from others by a ridge regression.

    Returns the share of pairs (held-out item, item never picked) in the right
    order, of a linear model of each user's training items.
    """
    train = torch.zeros(data['user'].num_nodes, data['item'].num_nodes)
    train[tuple(data[RATES].edge_index)] = 1
    x = x - x.mean(dim=0)
    gram = x.t() @ x + 500 * torch.eye(x.size(1))
    score = train @ x @ torch.linalg.inv(gram) @ x.t()
    free = train == 0
    for split in SPLITS[1:]:
        free[tuple(data[RATES][split])] = False
    user, item = data[RATES].test_edge_label_index
    above = score[user, item].unsqueeze(1) > score[user]
    return above[free[user]].float().mean().item()


@pytest.mark.parametrize('seed', [0, 1])
def test_modalities_tell_about_tastes(seed):
    data = FakeMultimodal(seed=seed)[0]
    image, text = data['item'].x_image, data['item'].x_text
    # Chance has a standard error of .3 / sqrt(1000) = .01:
    shuffled = auc(data, text[torch.randperm(len(text))])
    assert shuffled == pytest.approx(0.5, abs=0.04)
    assert auc(data, image) > 0.55
    assert auc(data, text) > auc(data, image) + 0.2


def test_each_modality_tells_something_else():
    names = ['a', 'b']
    data = FakeMultimodal(
        taste=dict.fromkeys(names, 1.0), noise=dict.fromkeys(names, 0.25)
    )[0]
    a, b = data['item'].x_a, data['item'].x_b
    both = auc(data, torch.cat([a, b], dim=1))
    assert both > auc(data, a) + 0.05
    assert both > auc(data, b) + 0.05


def test_modality_without_taste():
    data = FakeMultimodal(taste={'a': 0.0, 'b': 1.0}, noise={'a': 0, 'b': 0})[0]
    assert auc(data, data['item'].x_a) == pytest.approx(0.5, abs=0.04)
    assert auc(data, data['item'].x_b) > 0.6


BUSY = {'num_users': 2000, 'num_items': 700, 'activity': 0.75}


def all_pairs(data):
    return torch.cat([data[RATES][split] for split in SPLITS], dim=1)


def test_activity():
    data = FakeMultimodal(**BUSY)[0]
    pair = all_pairs(data)
    count = torch.bincount(pair[0], minlength=2000)
    assert count.min() >= 3
    # Those who would pick fewer than 3 raise the mean a little:
    assert count.float().mean().item() == pytest.approx(12, rel=0.1)
    many = count[count > 3].log()
    assert many.std().item() == pytest.approx(0.65, abs=0.1)
    assert count.max() > 6 * count.float().median()
    even = FakeMultimodal(**{**BUSY, 'activity': 0.0})[0]
    assert (torch.bincount(all_pairs(even)[0]) == 12).float().mean() > 0.99


def test_splits_of_active_users():
    data = FakeMultimodal(**BUSY)[0]
    assert data.validate()
    train, val, test = (pairs(data, split) for split in SPLITS)
    assert not train & val
    assert not train & test
    assert not val & test
    count = [
        torch.bincount(data[RATES][split][0], minlength=2000)
        for split in SPLITS
    ]
    held_out = (sum(count) // 10).clamp(min=1)
    assert torch.equal(count[1], held_out)
    assert torch.equal(count[2], held_out)
    assert check(data) is data


def test_popularity_with_activity():
    def spread(popularity):
        data = FakeMultimodal(**BUSY, popularity=popularity, scale=0.0)[0]
        count = torch.bincount(all_pairs(data)[1], minlength=700)
        return count[count > 0].log().std().item()

    assert spread(0.0) < 0.3
    # Users rarely see a popular item twice, and never pick it twice:
    assert 0.7 < spread(1.0) < 1.1


def test_activity_and_tastes():
    data = FakeMultimodal(**BUSY, popularity=0.0)[0]
    image, text = data['item'].x_image, data['item'].x_text
    assert auc(data, text[torch.randperm(700)]) == pytest.approx(0.5, abs=0.04)
    assert auc(data, image) > 0.52
    assert auc(data, text) > auc(data, image) + 0.1


def test_blocks(monkeypatch):
    """Users of several blocks are all there, in order."""
    monkeypatch.setattr('pyg_ckd.datasets.fake_multimodal.BLOCK', 5_000)
    first, again = (tensors(FakeMultimodal(**BUSY)[0]) for _ in range(2))
    for key, value in first.items():
        assert torch.equal(value, again[key]), key
    user = first['edge_index'][0]
    assert torch.equal(user, user.sort().values)
    assert user.unique().tolist() == list(range(2000))


def test_few_items_for_the_active():
    data = FakeMultimodal(
        num_users=200, num_items=4, activity=2.0, popularity=9.0
    )[0]
    count = torch.bincount(all_pairs(data)[0], minlength=200)
    assert (count == 3).all()


def test_transforms():
    class Mark:
        calls = 0

        def __call__(self, data):
            self.calls += 1
            data.mark = True
            return data

    transform, pre_transform = Mark(), Mark()
    data_set = FakeMultimodal(
        **SIZES, transform=transform, pre_transform=pre_transform
    )
    assert (transform.calls, pre_transform.calls) == (0, 1)
    assert data_set[0].mark
    assert data_set[0].mark
    assert (transform.calls, pre_transform.calls) == (2, 1)

    adjacency = NormalizedAdjacency()
    plain = FakeMultimodal(**SIZES, pre_transform=adjacency)[0]
    assert adjacency.of(plain).adj_t.shape == (50, 50)


def test_graphs_do_not_share_changes():
    data_set = FakeMultimodal(**SIZES)
    data = data_set[0]
    data['item'].x_text = None
    data.mark = True
    assert data_set[0]['item'].x_text is not None
    assert 'mark' not in data_set[0]


@pytest.mark.parametrize(
    'arguments',
    [
        {'num_users': 0},
        {'num_items': 3},
        {'num_interactions': 2},
        {'num_channels': 0},
        {'rank': 0},
        {'activity': -0.1},
        {'noise': {'image': -1.0, 'text': 0.25}},
    ],
)
def test_number_error(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        FakeMultimodal(**arguments)


def test_names_error():
    with pytest.raises(
        ValueError, match=r"'taste' and 'noise'.*\['a'\] and \['b'\]"
    ):
        FakeMultimodal(taste={'a': 1.0}, noise={'b': 1.0})
