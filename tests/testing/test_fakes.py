import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pyg_ckd.graph import RATED_BY, RATES, check, modalities
from pyg_ckd.nn import VBPR, Recommender
from pyg_ckd.ranking import evaluate
from pyg_ckd.testing import (
    PlainRecommender,
    assert_same_with_gradients,
    fake_graph,
    gradients,
    same_noise,
    step_loss,
    train_steps,
)
from pyg_ckd.views import full, only


@pytest.mark.parametrize('lonely', [False, True])
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_fake_graph(num_modalities, lonely):
    data = fake_graph(num_modalities, lonely=lonely)
    assert check(data) is data
    assert modalities(data) == ['image', 'text', 'audio'][:num_modalities]
    edge_index = data[RATES].edge_index
    assert torch.equal(data[RATED_BY].edge_index, edge_index.flip(0))
    users, items = (set(side.tolist()) for side in edge_index)
    assert users == set(range(11 if lonely else 12))
    assert (8 in items) == (not lonely)
    again = fake_graph(num_modalities, lonely=lonely)
    assert torch.equal(again[RATES].edge_index, edge_index)
    other = fake_graph(num_modalities, lonely=lonely, seed=1)
    assert not torch.equal(other['item'].x_image, data['item'].x_image)


def test_plain_recommender():
    """It is not ours, and fuses modalities non-linearly."""
    data = fake_graph(3)
    model = PlainRecommender(data)
    assert not isinstance(model, Recommender)
    _, item = model(data)
    total = torch.zeros_like(item)
    for m in modalities(data):
        other = fake_graph(3)
        for n in modalities(data):
            if n != m:
                other['item'][f'x_{n}'] = torch.zeros(9, 5)
        total = total + model(other)[1]
    for m in modalities(data):
        other['item'][f'x_{m}'] = torch.zeros(9, 5)
    assert not torch.allclose(total - 2 * model(other)[1], item, atol=1e-2)


def test_same_noise():
    x = torch.ones(50, 4)
    originals = F.dropout, F.gumbel_softmax
    with same_noise():
        dropped = F.dropout(x, 0.3)
        assert torch.equal(F.dropout(x, 0.3, training=True), dropped)
        assert torch.equal(nn.Dropout(0.3)(x), dropped)
        assert 0.5 < (dropped > 0).float().mean() < 0.9
        torch.testing.assert_close(dropped.max(), torch.tensor(1 / 0.7))
        assert F.dropout(x, 0.3, training=False) is x
        # Several states of a node get the noise of the node:
        states = F.dropout(torch.ones(50, 3, 4), 0.3)
        assert torch.equal(states, dropped.unsqueeze(1).expand(50, 3, 4))
        assert not torch.equal(F.dropout(torch.ones(51, 4))[:50], dropped)
        member = F.gumbel_softmax(x, tau=0.5)
        assert torch.equal(F.gumbel_softmax(x, tau=0.5), member)
        torch.testing.assert_close(member.sum(dim=1), torch.ones(50))
        assert member.std() > 0.1
    assert (F.dropout, F.gumbel_softmax) == originals


def test_gradients():
    model = nn.Bilinear(2, 3, 1)
    model.bias.requires_grad_(False)
    x, y = torch.randn(5, 2), torch.randn(5, 3)
    out = model(x, y)
    grads = gradients([out], model, [torch.ones_like(out)])
    assert list(grads) == ['weight']
    torch.testing.assert_close(grads['weight'][0], x.t() @ y)
    model.bias.requires_grad_(True)
    grads = gradients(model.weight.sum(), model)
    assert grads['bias'].tolist() == [0]  # not used
    assert grads['weight'].eq(1).all()


def test_assert_same_with_gradients():
    model = nn.Linear(2, 1)
    out = model(torch.randn(3, 2))
    assert_same_with_gradients([out, out], [out.clone(), out], model)
    for other in (out + 0.01, out.detach() + 0 * model.bias, 1 * out.detach()):
        with pytest.raises((AssertionError, RuntimeError)):
            assert_same_with_gradients([out], [other], model)


def test_training_raises_the_rank():
    data = fake_graph(num_users=60, num_items=40, num_interactions=12)
    model = VBPR.from_data(data, dim=8)
    keep = full(modalities(data))
    before = evaluate(model, data)['recall@20']
    batch = torch.randint(40, (3, 50))
    loss = step_loss(model, data, keep, *batch)
    margin = model.views(data, [keep]).triples(*batch).margin()
    torch.testing.assert_close(loss, -margin.sigmoid().log().mean())
    train_steps(model, data, keep, num_epochs=60, lr=0.03)
    assert evaluate(model, data)['recall@20'] > before + 0.05


def test_training_of_a_view():
    data = fake_graph()
    model = VBPR.from_data(data, dim=4)
    image = model.projection['image'].weight.detach().clone()
    text = model.projection['text'].weight.detach().clone()
    train_steps(model, data, only('text'))
    assert torch.equal(model.projection['image'].weight, image)
    assert not torch.equal(model.projection['text'].weight, text)
