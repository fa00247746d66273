from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import LGMRec
from pyg_ckd.testing import (
    RecommenderSuite,
    assert_same_with_gradients,
    dense_adjacency,
    dense_light_gcn,
    symmetric,
)
from pyg_ckd.views import distinct_views, full, only, view, without


class TestLGMRec(RecommenderSuite):
    model = LGMRec


case = TestLGMRec()


def normalize(x):
    return x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)


def naive(model, data, keep, noise=None):
    """Recompute embeddings, and those of hyperedges, on dense matrices."""
    num_users, num_items = model.num_users, model.num_items
    a = dense_adjacency(data[RATES].edge_index, 12, 9)
    r, a = a[:num_users, num_users:], symmetric(a)
    out = content = dense_light_gcn(
        data, model.user.weight, model.item.weight, model.num_layers
    )

    spread = {}
    for m in model.in_channels:
        f = data['item'][f'x_{m}']
        if m not in keep:
            f = f.mean(dim=0).repeat(num_items, 1)
        item = f @ model.projection[m].weight.t()
        user = r @ item / r.sum(dim=1, keepdim=True).clamp(min=1)
        x = torch.cat([user, item])
        for _ in range(model.num_modal_layers):
            x = a @ x
        out = out + normalize(x)

        item = f @ model.hyperedge[m].weight.t()
        h = torch.cat([r @ item, item])
        if noise is not None:
            h = h + noise
        h = (h / model.tau).softmax(dim=1)
        if noise is not None:
            h = h * (noise > 0) / (1 - model.dropout)
        x = content[num_users:]
        for _ in range(model.num_hyper_layers):
            everywhere = h @ h[num_users:].t() @ x
            x = everywhere[num_users:]
        spread[m] = everywhere
    return out + model.global_weight * normalize(sum(spread.values())), spread


def prepared(data, **kwargs):
    return case.make(data, dim=5, **kwargs)


def assert_same_gradients(model, result, expected):
    assert_same_with_gradients(result, expected, model, rtol=1e-3)


@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        {
            'num_layers': 3,
            'num_modal_layers': 0,
            'num_hyperedges': 7,
            'num_hyper_layers': 3,
            'global_weight': 0.8,
            'tau': 2.0,
        },
        {'num_layers': 0, 'num_modal_layers': 1, 'num_hyperedges': 1},
    ],
)
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_by_formula(num_modalities, kwargs):
    data = case.data(num_modalities)
    model = prepared(data, **kwargs)
    names = modalities(data)
    for keep in {full(names), *distinct_views(names), frozenset()}:
        assert_same_gradients(
            model,
            view(model, data, keep),
            naive(model, data, keep)[0].split([12, 9]),
        )


@pytest.mark.parametrize('num_hyper_layers', [1, 2])
def test_training(num_hyper_layers, monkeypatch):
    """Logits get noise, and memberships get dropout."""
    data = case.data(2)
    model = prepared(data, num_hyper_layers=num_hyper_layers, dropout=0.4)
    model.train()
    noise = torch.randn(21, 4)

    def gumbel_softmax(logits, tau):
        return ((logits + noise) / tau).softmax(dim=-1)

    def dropout(x, p):
        return x * (noise > 0) / (1 - p)

    monkeypatch.setattr(F, 'gumbel_softmax', gumbel_softmax)
    monkeypatch.setattr(F, 'dropout', dropout)
    keeps = distinct_views(modalities(data))
    several = model.views(data, keeps)
    for v, keep in enumerate(keeps):
        assert_same_gradients(
            model,
            several.embedding(v),
            naive(model, data, keep, noise)[0].split([12, 9]),
        )


def test_noise_in_training_only():
    """Two rankings agree, unlike in published code."""
    data = case.data(2)
    model = prepared(data, dropout=0.0)
    torch.testing.assert_close(model(data), model(data), rtol=0, atol=0)
    model.train()
    assert not torch.allclose(model(data)[1], model(data)[1])
    model.eval()
    model.dropout = 0.9
    torch.testing.assert_close(model(data), model(data), rtol=0, atol=0)


@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_regularization(num_modalities):
    data = case.data(num_modalities)
    model = prepared(data, contrastive_weight=0.3, tau=0.5)
    user, pos, neg = torch.randint(9, (3, 7))
    names = modalities(data)
    for keep in (full(names), without(names, 'image'), only('image')):
        several = model.views(data, [keep, only('image')])
        result = model.regularization(data, keep, several, user, pos, neg)

        _, spread = naive(model, data, keep)
        pairs = list(combinations([m for m in names if m in keep], 2))
        if not pairs:  # nothing to contrast
            assert result == 0
            continue
        expected = 0
        for m, n in pairs:
            for index, nodes in (
                (user, range(12)),
                (pos + 12, range(12, 21)),
            ):
                for b in index:
                    exp = {
                        k: (
                            F.cosine_similarity(spread[m][b], spread[n][k], 0)
                            / 0.5
                        ).exp()
                        for k in nodes
                    }
                    share = exp[int(b)] / sum(exp.values())
                    expected = expected - 0.3 * share.log()
        torch.testing.assert_close(result, expected)
        # Nothing of this loss sees the local graphs of modalities:
        parameters = [
            model.user.weight,
            model.item.weight,
            *(model.hyperedge[m].weight for m in keep),
        ]
        torch.testing.assert_close(
            torch.autograd.grad(result, parameters),
            torch.autograd.grad(expected, parameters),
            rtol=1e-3,
            atol=1e-4,
        )


def test_large_batch():
    """Blocks of a batch give what the batch gives."""
    data = case.data(2)
    model = prepared(data)
    user, pos, neg = torch.randint(9, (3, 300))
    keep = full(modalities(data))
    several = model.views(data, [keep])
    whole = model.regularization(data, keep, several, user, pos, neg)
    parts = sum(
        model.regularization(data, keep, several, *triples)
        for triples in zip(
            user.split(7), pos.split(7), neg.split(7), strict=True
        )
    )
    torch.testing.assert_close(whole, parts)


def test_dropped_rows_have_finite_gradients():
    """Dropout leaves some nodes in no hyperedge at all."""
    data = case.data(2)
    model = prepared(data, num_hyperedges=2, dropout=0.9).train()
    keep = full(modalities(data))
    several = model.views(data, [keep])
    assert (several.aux['member_text'] == 0).all(dim=-1).any()
    user, pos, neg = torch.randint(9, (3, 50))
    loss = several.triples(user, pos, neg).margin().sum()
    loss = loss + model.regularization(data, keep, several, user, pos, neg)
    for gradient in torch.autograd.grad(loss, model.parameters()):
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 1e4


def test_ablated_modality_is_the_same_for_all():
    """All items belong to its hyperedges alike."""
    data = case.data(2)
    model = prepared(data)
    x, logits = model._branches(data, [only('image')])['text', False]
    torch.testing.assert_close(logits[12:], logits[12].expand(9, -1))
    degree = torch.bincount(data[RATES].edge_index[0], minlength=12)
    torch.testing.assert_close(logits[:12], degree[:, None] * logits[12])
    known = x.norm(dim=1) > 0
    assert known.nonzero().flatten().tolist() == [
        node for node in range(21) if node not in (11, 12 + 8)
    ]
    unit = F.normalize(x[known])
    torch.testing.assert_close(unit, unit[0].expand(19, -1))


def test_initialization():
    model = LGMRec(500, 300, {'text': 100}, dim=20, num_hyperedges=6)
    assert model.projection['text'].weight.shape == (20, 100)
    assert model.hyperedge['text'].weight.shape == (6, 100)
    for table in model.parameters():
        bound = (6 / sum(table.shape)) ** 0.5
        assert 0.95 * bound < table.abs().max() <= bound


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('num_layers', -1),
        ('num_modal_layers', -1),
        ('num_hyperedges', 0),
        ('num_hyper_layers', 0),
        ('dropout', 1.0),
        ('dropout', -0.1),
    ],
)
def test_errors(name, value):
    with pytest.raises(
        ValueError, match=rf"'{name}'.*'LGMRec' \(got {value}\)"
    ):
        LGMRec(4, 3, {'text': 2}, **{name: value})


def test_no_modality():
    with pytest.raises(ValueError, match=r"in_channels.*'LGMRec' \(got 0\)"):
        LGMRec(4, 3, {})
