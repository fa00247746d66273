"""Items that nothing is learned of, and what no loss draws."""

import copy

import pytest
import torch

from pyg_ckd.balance import CKD, DCD, SoftCrossEntropy
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATED_BY, RATES, check, fingerprint, warm_items
from pyg_ckd.nn import VBPR
from pyg_ckd.objectives import BPR, Softmax
from pyg_ckd.train import Recommendation, fit

COLD = torch.arange(40) % 4 == 1


def shop():
    """A shop of 40 items, every fourth of which nobody has bought."""
    data, is_cold = (
        copy.copy(FakeMultimodal(num_users=60, num_items=40)[0]),
        COLD,
    )
    rates = data[RATES]
    for name in ('edge_index', 'val_edge_label_index', 'test_edge_label_index'):
        rates[name] = rates[name][:, ~is_cold[rates[name][1]]]
    data[RATED_BY].edge_index = rates.edge_index.flip(0)
    data['item'].cold = is_cold.clone()
    return data


@pytest.mark.parametrize(
    ('value', 'part'),
    [
        (torch.ones(40), 'is torch.float32 of the shape [40]'),
        (torch.ones(39, dtype=torch.bool), 'torch.bool of the shape [39]'),
        ([True] * 40, 'is list, expected Booleans of shape [40]'),
        (torch.ones(40, dtype=torch.bool), 'which has a training interaction'),
    ],
)
def test_other_masks_are_refused(value, part):
    data = shop()
    data['item'].cold = value
    with pytest.raises(ValueError) as info:
        check(data)
    assert "data['item'].cold" in str(info.value)
    assert part in str(info.value)


def test_masks_are_cast():
    data = shop()
    assert check(data) is data
    assert warm_items(data).tolist() == [i for i in range(40) if i % 4 != 1]
    data['item'].cold = data['item'].cold.numpy()
    assert check(data)['item'].cold.equal(shop()['item'].cold)


def test_fingerprint_of_cold_items():
    data, other = shop(), shop()
    other['item'].cold = torch.zeros(40, dtype=torch.bool)
    del (plain := shop())['item'].cold
    assert len({fingerprint(x) for x in (data, other, plain)}) == 3


@pytest.mark.parametrize(
    ('objective', 'balance'),
    [
        (BPR(), None),
        (Softmax(), None),
        (Softmax(negatives=8), None),
        (Softmax(negatives=1000), None),
        (Softmax(negatives='batch'), None),
        (None, CKD()),
        (None, CKD(on_random=SoftCrossEntropy(band=0.5))),
        (None, CKD(on_random=DCD())),
    ],
    ids=str,
)
def test_the_ids_of_cold_items_are_not_trained(objective, balance):
    data = shop()
    torch.manual_seed(0)
    model = VBPR.from_data(data, dim=4)
    start = model.item.weight.detach().clone()
    task = Recommendation(model, data, objective, balance, lr=0.1)
    task = fit(task, max_epochs=2, progress=False)
    changed = (task.model.item.weight != start).any(dim=1)
    assert changed.equal(~COLD)


def test_losses_of_a_step_are_those_of_a_graph_without_cold_items():
    """As many items are drawn from, and no number is drawn otherwise."""
    data, number = shop(), (~COLD).cumsum(0) - 1
    small = copy.copy(data)
    for name in ('x_image', 'x_text'):
        small['item'][name] = data['item'][name][~COLD]
    for name, pairs in data[RATES].items():
        small[RATES][name] = torch.stack([pairs[0], number[pairs[1]]])
    small[RATED_BY].edge_index = small[RATES].edge_index.flip(0)
    small['item'].num_nodes = 30
    del small['item'].cold
    losses = []
    for graph in (data, small):
        torch.manual_seed(0)
        model = VBPR.from_data(small, dim=4)
        if graph is data:
            state = model.state_dict()
            weight = torch.zeros(40, 4)
            weight[~COLD] = state['item.weight']
            model = VBPR.from_data(data, dim=4)
            model.load_state_dict({**state, 'item.weight': weight})
        for objective in (BPR(), Softmax(), Softmax(negatives=8)):
            task = Recommendation(model, graph, objective, batch_size=64)
            torch.manual_seed(1)
            batch = next(iter(task.train_dataloader()))
            losses.append(float(task.losses(batch).total))
    assert losses[:3] == pytest.approx(losses[3:])
