import copy

import pytest
import torch
from pytorch_lightning import Trainer
from scipy.stats import chisquare
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import GraphSAGE, to_hetero

from pyg_ckd.graph import RATED_BY, RATES, fingerprint, modalities
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.distill import Teacher
from pyg_ckd.nn import (
    BM3,
    BPRMF,
    FREEDOM,
    VBPR,
    FeatureKNN,
    InteractionKNN,
    LightGCN,
    Popularity,
)
from pyg_ckd.train import CKD, Recommendation, TripletLoader, fit
from pyg_ckd.views import default_views, full, only, without

pytestmark = pytest.mark.filterwarnings(
    'ignore:You are trying to `self.log',  # a step without a trainer
    'ignore:.*LeafSpec',  # Lightning's own
)

Batch = tuple[Tensor, Tensor, Tensor]


class Plain(nn.Module):
    """A recommender that is not ours and fuses modalities non-linearly."""

    def __init__(self, data: HeteroData) -> None:
        super().__init__()
        self.names = modalities(data)
        size = sum(data['item'][f'x_{m}'].size(1) for m in self.names)
        self.user = nn.Embedding(data['user'].num_nodes, 4)
        self.item = nn.Sequential(
            nn.Linear(size, 8), nn.Tanh(), nn.Linear(8, 4)
        )

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        x = [data['item'][f'x_{m}'] for m in self.names]
        return self.user.weight, self.item(torch.cat(x, dim=-1))


class IdsOnly(nn.Module):
    """A recommender that looks at no features."""

    def __init__(self, data: HeteroData, dropout: float = 0.0) -> None:
        super().__init__()
        self.user = nn.Embedding(data['user'].num_nodes, 4)
        self.item = nn.Embedding(data['item'].num_nodes, 4)
        self.dropout = nn.Dropout(dropout)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        return self.dropout(self.user.weight), self.item.weight


class HeteroSAGE(nn.Module):
    """PyG's own GraphSAGE, made heterogeneous, behind a small adapter."""

    def __init__(self, data: HeteroData, dim: int = 8) -> None:
        super().__init__()
        self.names = modalities(data)
        self.user = nn.Embedding(data['user'].num_nodes, dim)
        self.item = nn.LazyLinear(dim)
        self.gnn = to_hetero(
            GraphSAGE(dim, dim, num_layers=2),
            (['user', 'item'], [RATES, RATED_BY]),
        )

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        x = torch.cat([data['item'][f'x_{m}'] for m in self.names], dim=-1)
        out = self.gnn(
            {'user': self.user.weight, 'item': self.item(x)},
            {name: data[name].edge_index for name in (RATES, RATED_BY)},
        )
        return out['user'], out['item']


NAMES = {2: ('image', 'text'), 3: ('a', 'b', 'c')}
MODELS = {
    'plain': Plain,
    'vbpr': lambda data: VBPR.from_data(data, dim=4),
    'light_gcn': lambda data: LightGCN.from_data(data, dim=4),
    'freedom': lambda data: FREEDOM.from_data(
        data, dim=4, prune=0.0, feature_weight=0.3
    ),
}


def fake(num_modalities: int = 2, seed: int = 0) -> HeteroData:
    names = NAMES[num_modalities]
    data = FakeMultimodal(
        num_users=30,
        num_items=20,
        taste=dict.fromkeys(names, 1.0),
        noise=dict.fromkeys(names, 0.5),
        num_channels=5,
        seed=seed,
    )[0]
    return FREEDOM.pre_transform(data)


@pytest.fixture
def data() -> HeteroData:
    return fake()


def random_teachers(data: HeteroData) -> dict[str, Teacher]:
    """Teachers of several widths that were never trained."""
    return {
        name: Teacher(
            name,
            torch.randn(data['user'].num_nodes, 3 + place),
            torch.randn(data['item'].num_nodes, 3 + place),
            fingerprint(data),
        )
        for place, name in enumerate(modalities(data))
    }


def wide(model: nn.Module) -> nn.Module:
    """Spread the parameters, so that margins are not all close to zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


def gradients(loss: Tensor, model: nn.Module) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    grads = torch.autograd.grad(
        loss, parameters, allow_unused=True, materialize_grads=True
    )
    return dict(zip(names, grads, strict=True))


# The naive reference #########################################################


def naive_loss(
    task: CKD, batch: Batch, generic: Batch, tau: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Recompute the loss view by view and triple by triple."""
    names, model, data = modalities(task.data), task.model, task.data
    keeps = {'full': full(names)}
    keeps |= {f'only_{m}': only(m) for m in names}
    keeps |= {f'without_{m}': without(names, m) for m in names}
    views = default_views(model, data, list(keeps.values()))
    embedding = {
        name: views.embedding(place) for place, name in enumerate(keeps)
    }
    for m in names:
        embedding[f'teacher_{m}'] = (
            task.teachers[m].user,
            task.teachers[m].item,
        )

    def margin(view: str, triple: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        user_emb, item_emb = embedding[view]
        u, i, j = triple
        return user_emb[u] @ item_emb[i] - user_emb[u] @ item_emb[j]

    batch_triples = list(zip(*batch, strict=True))
    generic_user, first, second = generic
    groups = torch.arange(len(generic_user)).split(task.group_size)
    generic_triples = [
        (generic_user[u], first[pair], second[pair])
        for group in groups
        if len(group) == task.group_size
        for u in group
        for pair in group
    ]
    size = len(batch_triples)

    # BPR and the regularisation of the full view:
    user_emb, item_emb = embedding['full']
    base = torch.zeros(())
    for triple in batch_triples:
        base = base - torch.sigmoid(margin('full', triple)).log() / size
        u, i, j = triple
        for row in (user_emb[u], item_emb[i], item_emb[j]):
            base = base + task.l2 / 2 * (row**2).sum() / size
    if hasattr(model, 'regularization'):
        several = default_views(model, data, [full(names)])
        base = base + model.regularization(data, several, *batch)
    parts = {'base': base}

    # One number a step and modality:
    for m in names:
        terms = []
        for triple in generic_triples:
            p = torch.sigmoid(margin(f'only_{m}', triple) / tau)
            q = torch.sigmoid(margin(f'teacher_{m}', triple) / tau)
            # `log(1 - sigmoid(x))` without cancellation:
            other = torch.sigmoid(-margin(f'only_{m}', triple) / tau)
            terms.append(-q * p.log() - (1 - q) * other.log())
        parts[f'generic_{m}'] = sum(terms) / len(terms)

    # Learning progress of each modality on each triple:
    def value(view: str, triple: tuple[Tensor, Tensor, Tensor]) -> float:
        return float(margin(view, triple).detach())

    effect, reference = {}, {}
    compared = 'only' if task.reference == 'student' else 'teacher'
    for m in names:
        effect[m] = [
            value('full', triple) - value(f'without_{m}', triple)
            for triple in batch_triples
        ]
        reference[m] = [value(f'{compared}_{m}', t) for t in batch_triples]
        if task.effect == 'average':
            effect[m] = [sum(effect[m]) / size] * size
            reference[m] = [sum(reference[m]) / size] * size

    total = torch.zeros(())
    for m in names:
        for part in ('specific', 'weight', 'spread'):
            parts[f'{part}_{m}'] = torch.zeros(())
        if not task.reweight:
            del parts[f'spread_{m}']
    for place, triple in enumerate(batch_triples):
        c = {
            m: min(max(effect[m][place] / reference[m][place], 1e-8), 10.0)
            for m in names
        }
        for m in names:
            weight = len(names) / c[m] / sum(1 / c[n] for n in names)
            if not task.reweight:
                weight = 1.0
            specific = naive_specific(
                task,
                margin(f'only_{m}', triple),
                margin(f'teacher_{m}', triple),
            )
            parts[f'specific_{m}'] = parts[f'specific_{m}'] + specific / size
            parts[f'weight_{m}'] = parts[f'weight_{m}'] + weight / size
            if task.reweight:
                parts[f'spread_{m}'] += abs(weight - 1) / size
            generic_loss = task.gamma * parts[f'generic_{m}']
            total = total + weight * (specific + generic_loss) / size
    return base + task.strength * total, parts


def naive_specific(task: CKD, own: Tensor, taught: Tensor) -> Tensor:
    """Recompute the specific loss of one margin."""
    if task.specific_loss is None:
        return 0 * own
    if task.specific_loss.form == 'mse':
        return (own - taught) ** 2
    if task.specific_loss.form == 'kl':
        p, q = torch.sigmoid(own), torch.sigmoid(taught)
        return q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
    return taught - own if taught > own else 0 * own


@pytest.mark.parametrize('group_size', [1, 3])
@pytest.mark.parametrize('effect', ['individual', 'average'])
@pytest.mark.parametrize('reference', ['student', 'teacher'])
@pytest.mark.parametrize('num_modalities', [2, 3])
@pytest.mark.parametrize('name', MODELS)
def test_loss(name, num_modalities, reference, effect, group_size):
    data = fake(num_modalities)
    model = wide(MODELS[name](data))
    task = CKD(
        model,
        data,
        random_teachers(data),
        strength=0.7,
        gamma=1.5,
        tau=2.0,
        reference=reference,
        effect=effect,
        num_generic=7,
        group_size=group_size,
        l2=0.1,
    )
    batch = next(iter(TripletLoader(data, batch_size=5)))
    generic = task.generic_triples()
    loss, parts = task.loss(batch, generic)
    expected, expected_parts = naive_loss(task, batch, generic, tau=2.0)

    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    assert set(parts) == set(expected_parts)
    for key, value in parts.items():
        assert value.dim() == 0
        assert not value.requires_grad
        torch.testing.assert_close(
            value, expected_parts[key].detach(), rtol=1e-4, atol=1e-5
        )
    result = gradients(loss, model)
    for key, value in gradients(expected, model).items():
        assert value.abs().sum() > 0
        torch.testing.assert_close(result[key], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    'variant',
    [
        {'specific': 'mse'},
        {'specific': 'kl'},
        {'specific': None},
        {'gamma': 0.0},
        {'reweight': False},
        {'specific': None, 'reweight': False},
    ],
    ids=str,
)
@pytest.mark.parametrize('num_modalities', [2, 3])
def test_loss_of_variants(num_modalities, variant):
    data = fake(num_modalities)
    model = Plain(data)
    settings = {'strength': 0.7, 'tau': 2.0, 'num_generic': 7, **variant}
    task = CKD(model, data, random_teachers(data), **settings)
    batch = next(iter(TripletLoader(data, batch_size=5)))
    generic = task.generic_triples()
    loss, parts = task.loss(batch, generic)
    expected, expected_parts = naive_loss(task, batch, generic, tau=2.0)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    assert set(parts) == set(expected_parts)
    for key, value in parts.items():
        torch.testing.assert_close(
            value, expected_parts[key].detach(), rtol=1e-4, atol=1e-5
        )
    result = gradients(loss, model)
    for key, value in gradients(expected, model).items():
        torch.testing.assert_close(result[key], value, rtol=1e-3, atol=1e-4)
    # The variant differs from CKD itself:
    itself = CKD(
        model,
        data,
        task.teachers,
        **{**settings, 'specific': 'hinge', 'gamma': 5.0, 'reweight': True},
    )
    assert not torch.isclose(itself.loss(batch, generic)[0], loss)


def test_items_that_lack_a_modality_have_no_specific_loss(data):
    data['item'].has_text = torch.arange(20) >= 8
    teachers = random_teachers(data)
    model = wide(Plain(data))
    batch = next(iter(TripletLoader(data, batch_size=40)))
    task = CKD(model, data, teachers, skip_missing=True)
    plain = CKD(model, data, teachers)
    generic = task.generic_triples()
    _, parts = task.loss(batch, generic)
    _, plain_parts = plain.loss(batch, generic)

    user, pos, neg = batch
    user_emb, item_emb = default_views(model, data, [only('text')]).embedding()
    own = (user_emb[user] * (item_emb[pos] - item_emb[neg])).sum(dim=1)
    hinge = (teachers['text'].margin(*batch) - own).clamp(min=0)
    known = (pos >= 8) & (neg >= 8)
    assert 0 < known.sum() < len(known)
    expected = (hinge * known).mean().detach()
    torch.testing.assert_close(parts['specific_text'], expected)
    for key, value in plain_parts.items():
        assert torch.equal(parts[key], value) == (key != 'specific_text')


def test_gate(data):
    """A modality is distilled while its teacher is ahead on validation."""
    task = CKD(Plain(data), data, random_teachers(data), gate=True)
    batch = next(iter(TripletLoader(data, batch_size=9)))
    generic = task.generic_triples()
    task.teacher_level = {'image': 2.0, 'text': 2.0}
    own = task.validation()
    _, both, _ = task.losses(batch, generic)

    # Level is not ahead:
    task.teacher_level = {'image': 2.0, 'text': own['val_recall@20/only(text)']}
    task.validation()
    _, image, parts = task.losses(batch, generic)
    task.teacher_level = {'image': 0.0, 'text': 0.0}
    task.validation()
    _, none, _ = task.losses(batch, generic)
    assert none == 0
    assert 0 < image < both
    plain = CKD(Plain(data), data, task.teachers, reweight=False, gate=True)
    plain.model = task.model
    _, ungated, parts = plain.losses(batch, generic)
    expected = sum(
        parts[f'specific_{m}'] + 5 * parts[f'generic_{m}']
        for m in ('image', 'text')
    )
    torch.testing.assert_close(ungated.detach(), expected)


def test_gradient_share(data):
    model = wide(Plain(data))
    task = CKD(model, data, random_teachers(data), strength=0.3)
    batch = next(iter(TripletLoader(data, batch_size=9)))
    generic = task.generic_triples()
    norms = []
    for side in (0, 1):
        loss = task.losses(batch, generic)[side] * (1.0, 0.3)[side]
        grads = gradients(loss, model).values()
        norms.append(torch.cat([g.flatten() for g in grads]).norm())
    share = task.gradient_share(batch, generic)
    assert share == pytest.approx(float(norms[1] / sum(norms)), rel=1e-4)
    assert 0 < share < 1
    assert all(p.grad is None for p in model.parameters())


def test_history_and_warnings(data):
    """Teachers that know nothing are found out, once each."""
    task = CKD(VBPR.from_data(data, dim=4), data, random_teachers(data))
    worst = {
        m: Teacher.from_embeddings(
            torch.ones(30, 1), -torch.arange(20.0).unsqueeze(1), data, m
        )
        for m in modalities(data)
    }
    task.set_teachers(worst)
    with pytest.warns(UserWarning, match='nothing left to learn') as caught:
        fit(task, max_epochs=6, eval_every=2, progress=False)
    found = [str(w.message) for w in caught if 'teacher of' in str(w.message)]
    assert len(found) == 2  # one a modality, in three evaluations
    assert [entry['epoch'] for entry in task.history] == [2, 4, 6]
    for entry in task.history:
        assert 0 <= entry['gradient_share'] <= 1
        for m in modalities(data):
            assert 0 <= entry[f'val_recall@20/only({m})'] <= 1
            assert 0 <= entry[f'spread_{m}'] <= 1
    last = task.history[-1]
    best = max(task.history, key=lambda entry: entry['val_recall@20'])
    now = task.validation()
    assert now['val_recall@20'] == pytest.approx(best['val_recall@20'])
    assert last.keys() == best.keys()


def test_measuring_gradients_does_not_change_training(data, monkeypatch):
    def train() -> Tensor:
        torch.manual_seed(0)
        task = CKD(VBPR.from_data(data, dim=4), data, random_teachers(data))
        return fit(task, max_epochs=4, eval_every=2, progress=False).model(
            data
        )[0]

    measured = train()
    monkeypatch.setattr(CKD, 'gradient_share', lambda *_: 0.0)
    assert torch.equal(measured, train())


def test_loss_with_the_default_arguments(data):
    model = Plain(data)
    task = CKD(model, data, random_teachers(data))
    assert (task.strength, task.gamma) == (0.01, 5.0)
    assert (task.num_generic, task.group_size) == (5000, 1)
    assert (task.reference, task.effect) == ('student', 'individual')
    batch = next(iter(TripletLoader(data, batch_size=5)))
    generic = task.generic_triples()
    loss, _ = task.loss(batch, generic)
    expected, _ = naive_loss(task, batch, generic, tau=0.1)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_weights_sum_to_the_number_of_modalities():
    data = fake(3)
    task = CKD(wide(Plain(data)), data, random_teachers(data))
    batch = next(iter(TripletLoader(data, batch_size=50)))
    _, parts = task.loss(batch, task.generic_triples())
    total = sum(parts[f'weight_{m}'] for m in modalities(data))
    assert float(total) == pytest.approx(3, abs=1e-5)


@pytest.mark.parametrize('name', MODELS)
def test_no_strength_gives_the_base_loss(name, data):
    model = MODELS[name](data)
    batch = next(iter(TripletLoader(data, batch_size=9)))
    task = CKD(model, data, random_teachers(data), strength=0.0, l2=0.1)
    loss = task.training_step(batch)
    expected = Recommendation(model, data, l2=0.1).training_step(batch)
    torch.testing.assert_close(loss, expected)
    result = gradients(loss, model)
    for key, value in gradients(expected, model).items():
        torch.testing.assert_close(result[key], value)


def test_teachers_get_no_gradient_and_do_not_change(data):
    teachers = random_teachers(data)
    before = {name: teacher.user.clone() for name, teacher in teachers.items()}
    task = CKD(Plain(data), data, teachers, strength=1.0)
    fit(task, max_epochs=2, progress=False)
    for name, teacher in task.teachers.items():
        assert torch.equal(teacher.user, before[name])
        assert not teacher.user.requires_grad


def test_student_that_beats_its_teachers_is_not_pulled_back(data):
    teachers = {
        name: Teacher(
            name, 0 * teacher.user, teacher.item, teacher.data_fingerprint
        )
        for name, teacher in random_teachers(data).items()
    }
    model = VBPR.from_data(data, dim=4)
    with torch.no_grad():  # every view prefers lower ids
        order = torch.linspace(1, 0, 20).unsqueeze(1).expand(20, 4)
        model.user.weight.fill_(100.0)
        model.item.weight.copy_(order)
        for table in model.preference.values():
            table.fill_(0.01)
    task = CKD(model, data, teachers, gamma=0.0, strength=1.0, l2=0.0)
    user = torch.arange(10)
    batch = user, torch.zeros_like(user), torch.full_like(user, 19)
    loss, parts = task.loss(batch, task.generic_triples())
    assert parts['specific_image'] == parts['specific_text'] == 0
    torch.testing.assert_close(loss.detach(), parts['base'])


# Generic triples #############################################################


@pytest.mark.parametrize('num_generic', [7, 30, 5000])
def test_generic_triples(num_generic, data):
    # User 3 has no interactions left:
    index = data[RATES].edge_index
    data[RATES].edge_index = index[:, index[0] != 3]
    task = CKD(Plain(data), data, num_generic=num_generic)
    for _ in range(5):
        user, one, other = task.generic_triples()
        assert len(user) == min(num_generic, 29)
        assert len(one) == len(other) == len(user)
        assert user.unique().numel() == len(user)
        assert 3 not in user.tolist()
        items = torch.cat([one, other])
        assert 0 <= int(items.min()) <= int(items.max()) < 20
    draws = [torch.cat(task.generic_triples()) for _ in range(2)]
    assert not torch.equal(*draws)


def test_generic_triples_are_uniform(data):
    task = CKD(Plain(data), data, num_generic=10)
    draws = [task.generic_triples() for _ in range(800)]
    user, one, other = (torch.cat(side) for side in zip(*draws, strict=True))
    for value, size in [(user, 30), (one, 20), (other, 20)]:
        count = torch.bincount(value, minlength=size)
        assert chisquare(count).pvalue > 0.001
    pairs = torch.bincount(one * 20 + other, minlength=400)
    assert chisquare(pairs).pvalue > 0.001


# Errors ######################################################################


@pytest.mark.parametrize('names', [(), ('text',)])
def test_too_few_modalities(names, data):
    for name in set(modalities(data)) - set(names):
        del data['item'][f'x_{name}']
    model = VBPR.from_data(data, dim=4)
    with pytest.raises(ValueError, match='at least two') as info:
        CKD(model, data)
    assert str(list(names)) in str(info.value)
    assert 'Recommendation' in str(info.value)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(reference='self'), r"'reference' .* 'CKD' \(got 'self'\)"),
        (dict(effect='total'), r"'effect' .* 'CKD' \(got 'total'\)"),
        (dict(num_generic=0), r"'group_size' .* num_generic=0\)"),
        (dict(num_generic=-5), r"'group_size' .* num_generic=-5\)"),
        (dict(group_size=5001), r"'group_size' .*\(got 5001,"),
        (dict(group_size=31), r"'group_size' .* 30, .*\(got 31,"),
        (dict(group_size=0), r"'group_size' .*\(got 0,"),
        (dict(group_size=-3), r"'group_size' .*\(got -3,"),
        (dict(tau=0.0), r"'tau' .*\(got 0\.0\)"),
        (dict(tau=-0.1), r"'tau' .*\(got -0\.1\)"),
    ],
)
def test_argument_errors(kwargs, message, data):
    with pytest.raises(ValueError, match=message):
        CKD(Plain(data), data, **kwargs)


@pytest.mark.parametrize('when', ['init', 'later'])
def test_wrong_teachers(when, data):
    teachers = random_teachers(data)
    image, text = teachers['image'], teachers['text']
    stranger = random_teachers(fake(seed=1))['text']
    other = Teacher('audio', text.user, text.item, text.data_fingerprint)
    task = CKD(Plain(data), data)

    def give(teachers: dict[str, Teacher]) -> None:
        if when == 'init':
            CKD(Plain(data), data, teachers)
        else:
            task.set_teachers(teachers)

    for wrong in ({'text': text}, {}, {**teachers, 'audio': other}):
        with pytest.raises(ValueError, match='one teacher for each') as info:
            give(wrong)
        assert str(sorted(wrong)) in str(info.value)
    with pytest.raises(ValueError, match="given for 'image' teaches 'text'"):
        give({'image': text, 'text': image})
    with pytest.raises(ValueError, match="'text' was trained on other data"):
        give({'image': image, 'text': stranger})
    assert task.teachers == {}
    give(teachers)


@pytest.mark.parametrize('change', ['features', 'interactions', 'users'])
def test_teacher_of_changed_data(change, data):
    teachers = random_teachers(data)
    if change == 'features':
        data['item'].x_image[0, 0] += 1
    elif change == 'interactions':
        data[RATES].edge_index = data[RATES].edge_index[:, 1:]
    else:
        data['user'].num_nodes += 1
    with pytest.raises(ValueError, match='other data'):
        CKD(Plain(data), data, teachers)


def test_order_of_interactions_and_teachers_does_not_matter(data):
    teachers = random_teachers(data)
    data[RATES].edge_index = data[RATES].edge_index.flip(1)
    task = CKD(Plain(data), data, dict(reversed(teachers.items())))
    assert list(task.teachers) == ['image', 'text']


def test_training_without_teachers(data):
    trainer = Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with pytest.raises(ValueError, match='fit_teachers'):
        trainer.fit(CKD(Plain(data), data))


@pytest.mark.parametrize(
    ('make', 'name'),
    [
        (lambda data: LightGCN.from_data(data, use=[], dim=4), 'LightGCN'),
        (lambda data: VBPR.from_data(data, use=[], dim=4), 'VBPR'),
        (lambda data: BPRMF.from_data(data, dim=4), 'BPRMF'),
        (lambda data: BM3.from_data(data, dim=4), 'BM3'),
        (IdsOnly, 'IdsOnly'),
        (lambda data: IdsOnly(data, dropout=0.5), 'IdsOnly'),
    ],
    ids=['light_gcn', 'vbpr', 'bpr_mf', 'bm3', 'plain', 'dropout'],
)
def test_features_that_are_ignored(make, name, data):
    model = make(data)
    with pytest.raises(ValueError, match='do not change') as info:
        CKD(model, data, random_teachers(data))
    message = str(info.value)
    assert name in message
    assert 'image or text' in message
    assert 'effects are zero' in message
    assert model.training


@pytest.mark.parametrize('model', [Popularity, InteractionKNN, FeatureKNN])
def test_nothing_to_train(model, data):
    with pytest.raises(
        ValueError, match=f"{model.__name__} has no parameters to train.*'CKD'"
    ):
        CKD(model.from_data(data), data, random_teachers(data))


def test_frozen_student(data):
    model = VBPR.from_data(data, dim=4).requires_grad_(False)
    with pytest.raises(ValueError, match='VBPR has no parameters to train'):
        CKD(model, data)


def test_few_generic_triples_are_no_ignored_features(data):
    """Both items of a generic triple may be the same, by chance."""
    model = Plain(data)
    for seed in range(50):
        torch.manual_seed(seed)
        assert len(CKD(model, data, num_generic=1).generic_triples()) == 3


# Other people's models #######################################################


def test_third_party_student():
    data = FakeMultimodal(num_users=100, num_items=50)[0]
    task = CKD(HeteroSAGE(data), data, lr=0.01, batch_size=200, num_generic=50)
    assert task.teachers == {}
    before = copy.deepcopy(task.model.state_dict())
    assert fit(task, max_epochs=4, eval_every=2, progress=False) is task

    assert set(task.teachers) == {'image', 'text'}
    for name, teacher in task.teachers.items():
        assert teacher.modality == name
        assert teacher.user.shape == (100, 8)
        assert teacher.item.shape == (50, 8)
    assert any(
        not torch.equal(value, before[key])
        for key, value in task.model.state_dict().items()
    )
    entry = task.history[-1]
    assert {'base', 'specific_image', 'generic_text', 'weight_text'} <= set(
        entry
    )
    assert entry['weight_image'] + entry['weight_text'] == pytest.approx(
        2, abs=1e-4
    )
    item, _ = task.recommend(torch.tensor([0, 1]), k=3)
    assert item.shape == (2, 3)


def test_teachers_of_another_class(data):
    """A teacher may be any model: here, VBPR teaches LightGCN."""
    teachers = {
        name: Teacher.from_model(VBPR.from_data(data, dim=3), data, name)
        for name in modalities(data)
    }
    task = CKD(LightGCN.from_data(data, dim=4), data, teachers)
    fit(task, max_epochs=1, progress=False)
    assert task.teachers['text'].user.shape == (30, 6)
