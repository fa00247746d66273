import copy
import io
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning import Trainer
from scipy.stats import chisquare
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import GraphSAGE, to_hetero

from pyg_ckd.balance import (
    CKD,
    CounterfactualWeights,
    Hinge,
    SoftCrossEntropy,
    Teacher,
    failure_signs,
)
from pyg_ckd.graph import RATED_BY, RATES, modalities
from pyg_ckd.nn import FREEDOM, VBPR, LightGCN
from pyg_ckd.objectives import BPR, Batch
from pyg_ckd.testing import PlainRecommender, fake_graph, gradients
from pyg_ckd.testing.balance_suite import BalanceSuite
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.train.losses import Losses
from pyg_ckd.triplet_loader import TripletLoader
from pyg_ckd.views import Keep, default_views, full, only, view_name, without

MODELS = {
    'plain': PlainRecommender,
    'vbpr': lambda data: VBPR.from_data(data, dim=4),
    'light_gcn': lambda data: LightGCN.from_data(data, dim=4),
    'freedom': lambda data: FREEDOM.from_data(
        data, dim=4, prune=0.0, feature_weight=0.3
    ),
}
CLOSE = {'rtol': 1e-4, 'atol': 1e-5}
IMAGE, TEXT, BOTH = only('image'), only('text'), full(['image', 'text'])


class TestCKD(BalanceSuite):
    balance = CKD


def graph(num_modalities: int = 2, **kwargs) -> HeteroData:
    return fake_graph(
        num_modalities,
        num_users=30,
        num_items=40,
        pre_transform=FREEDOM.pre_transform,
        **kwargs,
    )


@pytest.fixture
def data() -> HeteroData:
    return graph()


def batch_of(data: HeteroData, size: int = 9) -> Batch:
    return next(iter(TripletLoader(data, batch_size=size)))


def wide(model: nn.Module) -> nn.Module:
    """Spread the parameters, so that margins are not all close to zero."""
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def step(task: Recommendation, batch: Batch) -> tuple[Losses, Batch | None]:
    """Return the losses of a step, and the random triples it draws."""
    state = torch.get_rng_state()
    random = task.balance.triples()
    torch.set_rng_state(state)
    return task.losses(batch), random


# The naive reference #########################################################


def naive_losses(
    task: Recommendation, batch: Batch, random: Batch | None
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Recompute base, distillation and scalars, triple by triple."""
    ckd, data, recommender = task.balance, task.data, task.recommender
    names, l2 = modalities(data), task.objective.l2
    keeps = [full(names), *ckd.teachers, *(without(names, m) for m in names)]
    views = default_views(recommender, data, keeps)
    student = {keep: views.embedding(v) for v, keep in enumerate(keeps)}
    teacher = {keep: (t.user, t.item) for keep, t in ckd.teachers.items()}

    def margin(embedding: tuple[Tensor, Tensor], triple: Batch) -> Tensor:
        user_emb, item_emb = embedding
        u, i, j = triple
        return user_emb[u] @ item_emb[i] - user_emb[u] @ item_emb[j]

    triples = list(zip(*batch, strict=True))
    size = len(triples)

    # BPR and the regularisation of the full view:
    base = torch.zeros(())
    user_emb, item_emb = student[full(names)]
    for u, i, j in triples:
        own = margin(student[full(names)], (u, i, j))
        base = base - torch.sigmoid(own).log() / size
        for row in (user_emb[u], item_emb[i], item_emb[j]):
            base = base + l2 / 2 * (row**2).sum() / size
    several = default_views(recommender, data, [full(names)])
    base = base + recommender.regularization(data, full(names), several, *batch)
    scalars = {'base': base}

    # One number a step and view:
    generic, gamma = dict.fromkeys(teacher, torch.zeros(())), 0.0
    if ckd.on_random is not None:
        gamma, tau = ckd.on_random.weight, ckd.on_random.tau
        for keep in teacher:
            terms = []
            for triple in in_groups(random, ckd.on_random.group_size):
                own = margin(student[keep], triple) / tau
                q = torch.sigmoid(margin(teacher[keep], triple) / tau)
                # `log(1 - sigmoid(x))` without cancellation:
                p, other = torch.sigmoid(own), torch.sigmoid(-own)
                terms.append(-q * p.log() - (1 - q) * other.log())
            generic[keep] = sum(terms) / len(terms)

    # Weights of modalities, for each triple:
    weighed = [m for m in names if only(m) in teacher]
    if len(weighed) < 2:
        weighed = []  # there is nothing to weigh it against
    weight = {keep: [1.0] * size for keep in teacher}
    if ckd.weights is not None and weighed:
        compared = student if ckd.weights.reference == 'student' else teacher
        progress = {}
        for m in weighed:
            effect, reference = [], []
            for triple in triples:
                whole = margin(student[full(names)], triple)
                rest = margin(student[without(names, m)], triple)
                own = margin(compared[only(m)], triple)
                effect.append(float((whole - rest).detach()))
                reference.append(float(own.detach()))
            average = ckd.weights.effect == 'average'
            progress[m] = naive_progress(effect, reference, average)
        for m, b in itertools.product(weighed, range(size)):
            lag = sum(1 / progress[n][b] for n in weighed)
            weight[only(m)][b] = len(weighed) / progress[m][b] / lag

    total = torch.zeros(())
    for keep in teacher:
        name = view_name(keep, names)
        label = next(iter(keep)) if len(keep) == 1 else name
        specific = []
        for triple in triples:
            gap = margin(teacher[keep], triple) - margin(student[keep], triple)
            use = ckd.on_batch is not None and gap > 0
            specific.append(gap if use else 0 * gap)
        for w, hinge in zip(weight[keep], specific, strict=True):
            total = total + w * (hinge + gamma * generic[keep]) / size
        scalars[f'specific_{label}'] = sum(specific) / size
        scalars[f'generic_{label}'] = generic[keep]
        scalars[f'weight_{label}'] = torch.tensor(sum(weight[keep]) / size)
        if ckd.weights is not None and label in weighed:
            spread = sum(abs(w - 1) for w in weight[keep]) / size
            scalars[f'spread_{label}'] = torch.tensor(spread)
    return base, ckd.strength * total, scalars


def in_groups(random: Batch, size: int) -> list[Batch]:
    """Return each user with each pair of her group; no half groups."""
    user, first, second = random
    size = min(size, len(user))
    return [
        (user[u], first[pair], second[pair])
        for group in torch.arange(len(user)).split(size)
        if len(group) == size
        for u in group
        for pair in group
    ]


def naive_progress(
    effect: list[float], reference: list[float], average: bool
) -> list[float]:
    if average:
        size = len(effect)
        effect = [sum(effect) / size] * size
        reference = [sum(reference) / size] * size
    return [
        min(max(e / r, 1e-8), 10.0)
        for e, r in zip(effect, reference, strict=True)
    ]


def assert_naive(task: Recommendation, batch: Batch) -> Losses:
    """Compare a step with the naive reference: values and gradients."""
    losses, random = step(task, batch)
    base, added, scalars = naive_losses(task, batch, random)
    torch.testing.assert_close(losses.base, base, **CLOSE)
    torch.testing.assert_close(losses.added, added, **CLOSE)
    torch.testing.assert_close(losses.total, base + added, **CLOSE)
    assert set(losses.scalars) == set(scalars)
    for name, value in losses.scalars.items():
        assert value.dim() == 0
        assert not value.requires_grad
        torch.testing.assert_close(value, scalars[name].detach(), **CLOSE)
    torch.testing.assert_close(
        gradients(losses.total, task.model),
        gradients(base + added, task.model),
        rtol=1e-3,
        atol=1e-4,
    )
    return losses


@pytest.mark.parametrize('group_size', [1, 3])
@pytest.mark.parametrize('effect', ['individual', 'average'])
@pytest.mark.parametrize('reference', ['student', 'teacher'])
@pytest.mark.parametrize('num_modalities', [2, 3])
@pytest.mark.parametrize('name', MODELS)
def test_loss(
    name, num_modalities, reference, effect, group_size, random_teachers
):
    data = graph(num_modalities)
    model = wide(MODELS[name](data))
    ckd = CKD(
        random_teachers(data),
        strength=0.7,
        on_random=SoftCrossEntropy(
            tau=2.0, num_pairs=7, weight=1.5, group_size=group_size
        ),
        weights=CounterfactualWeights(reference, effect),
    )
    task = Recommendation(model, data, BPR(l2=0.1), ckd)
    losses = assert_naive(task, batch_of(data, 5))
    for key, grad in gradients(losses.total, model).items():
        if not (name == 'freedom' and key.endswith('bias')):  # cancel
            assert grad.abs().sum() > 0


@pytest.mark.parametrize(
    'variant',
    [
        {'on_batch': None},
        {'on_random': None},
        {'weights': None},
        {'on_batch': None, 'weights': None},
        {'on_random': None, 'weights': None},
    ],
    ids=lambda variant: ','.join(variant),
)
@pytest.mark.parametrize('num_modalities', [2, 3])
def test_parts_left_out(num_modalities, variant, random_teachers):
    data = graph(num_modalities)
    model = wide(PlainRecommender(data))
    teachers = random_teachers(data)
    on_random = SoftCrossEntropy(tau=2.0, num_pairs=7)
    batch = batch_of(data, 5)
    settings = {'strength': 0.7, 'on_random': on_random}
    added = []
    for kwargs in (settings, {**settings, **variant}):
        ckd = CKD(teachers, **kwargs)
        task = Recommendation(model, data, BPR(), ckd)
        torch.manual_seed(1)
        added.append(assert_naive(task, batch).added)
    assert not torch.isclose(*added)


def test_no_part(data, random_teachers):
    """What is left is training without teachers."""
    ckd = CKD(random_teachers(data), 1.0, None, None, None)
    task = Recommendation(PlainRecommender(data), data, BPR(), ckd)
    losses, random = step(task, batch_of(data))
    assert random is None
    assert losses.added == 0
    assert set(task.balance.keeps) == {BOTH, IMAGE, TEXT}


VIEWS = {
    2: [
        [TEXT],
        [BOTH],
        [BOTH, IMAGE],
        [BOTH, IMAGE, TEXT],
        [frozenset(), TEXT],
    ],
    3: [
        [only('audio')],
        [only('audio'), TEXT],
        [without(['image', 'text', 'audio'], 'text')],
        [full(['image', 'text', 'audio']), BOTH, IMAGE],
    ],
}


@pytest.mark.parametrize('name', ['plain', 'vbpr', 'freedom'])
@pytest.mark.parametrize(
    ('num_modalities', 'keeps'),
    [(num, keeps) for num, several in VIEWS.items() for keeps in several],
)
def test_teachers_of_any_view(num_modalities, keeps, name, random_teachers):
    data = graph(num_modalities)
    ckd = CKD(
        random_teachers(data, keeps),
        strength=0.7,
        on_random=SoftCrossEntropy(tau=2.0, num_pairs=7),
    )
    model = wide(MODELS[name](data))
    task = Recommendation(model, data, BPR(), ckd)
    assert set(task.balance.watched) == set(keeps)
    assert_naive(task, batch_of(data, 5))


def test_loss_with_the_default_arguments(data, random_teachers):
    ckd = CKD(random_teachers(data))
    assert ckd.strength == 0.01
    assert ckd.gate is False
    assert repr(ckd.on_batch) == 'Hinge(selective=False)'
    assert (
        vars(ckd.on_random).items()
        >= dict(
            tau=0.1, num_pairs=640, weight=5.0, group_size=8, eps=0.0
        ).items()
    )
    assert ckd.weights.reference == 'student'
    assert ckd.weights.effect == 'individual'
    task = Recommendation(PlainRecommender(data), data, BPR(), ckd)
    assert_naive(task, batch_of(data, 5))


def test_born_again(data):
    r"""A teacher of the full view: BPR and one soft cross-entropy of it.

    .. math::
        \lambda \gamma \, \mathrm{mean} \; \mathrm{BCE}\left(\sigma(D / \tau),
        \sigma(D^\mathcal{T} / \tau)\right)
    """
    base = wide(VBPR.from_data(data, dim=5))
    model = wide(VBPR.from_data(data, dim=4))
    ckd = CKD(
        {BOTH: Teacher.from_model(base, data)},
        0.3,
        on_batch=None,
        on_random=SoftCrossEntropy(group_size=1),
    )
    task = Recommendation(model, data, balance=ckd)
    # No further view is computed:
    assert set(task.balance.keeps) == {BOTH}
    batch = batch_of(data)
    losses, (user, first, second) = step(task, batch)
    own, taught = (
        (u[user] * (i[first] - i[second])).sum(1) / 0.1
        for u, i in (model(data), base(data))
    )
    expected = (
        0.3
        * 5
        * F.binary_cross_entropy_with_logits(own, taught.detach().sigmoid())
    )
    torch.testing.assert_close(losses.added, expected)
    assert set(losses.scalars) == {
        'base',
        'specific_full',
        'generic_full',
        'weight_full',
    }
    torch.testing.assert_close(
        losses.base, Recommendation(model, data).losses(batch).base
    )
    fit(task, max_epochs=2, eval_every=1, progress=False)
    assert set(task.balance.teacher_level) == {BOTH}
    assert task.history[0]['generic_full'] > 0


def test_self_distillation(data):
    """One base teaches each modality alone, with weights."""
    base = VBPR.from_data(data, dim=5)
    itself = Teacher.from_model(base, data)
    ckd = CKD({IMAGE: itself, TEXT: itself})
    model = VBPR.from_data(data, dim=4)
    task = Recommendation(model, data, BPR(), ckd)
    losses = assert_naive(task, batch_of(data))
    assert losses.scalars['spread_text'] > 0
    user, item = base(data)
    teacher = task.balance.teachers[TEXT]
    torch.testing.assert_close(
        teacher.user @ teacher.item.t(), (user @ item.t()).detach()
    )


@pytest.mark.parametrize('name', ['image', 'text'])
def test_one_modality_is_not_weighed(name, data, random_teachers):
    """There is none to weigh it against, and no view is spent on it."""
    ckd = CKD(random_teachers(data, [only(name), BOTH]))
    task = Recommendation(PlainRecommender(data), data, balance=ckd)
    assert set(task.balance.keeps) == {only(name), BOTH}
    scalars = task.losses(batch_of(data)).scalars
    assert f'spread_{name}' not in scalars
    assert scalars[f'weight_{name}'] == 1
    assert (
        failure_signs({key: float(x) for key, x in scalars.items()}, {}) == {}
    )


def test_weights_sum_to_the_number_of_modalities(random_teachers):
    data = graph(3)
    ckd = CKD(random_teachers(data))
    task = Recommendation(wide(PlainRecommender(data)), data, balance=ckd)
    scalars = task.losses(batch_of(data, 50)).scalars
    total = sum(scalars[f'weight_{m}'] for m in modalities(data))
    assert float(total) == pytest.approx(3, abs=1e-5)


@pytest.mark.parametrize('name', MODELS)
def test_no_strength_gives_the_base_loss(name, data, random_teachers):
    model = MODELS[name](data)
    batch = batch_of(data)
    ckd = CKD(random_teachers(data), strength=0.0)
    loss = Recommendation(model, data, BPR(0.1), ckd).losses(batch).total
    expected = Recommendation(model, data, BPR(0.1)).losses(batch).total
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        gradients(loss, model), gradients(expected, model)
    )


def test_student_that_beats_its_teachers_is_not_pulled_back(data):
    model = VBPR.from_data(data, dim=4)
    with torch.no_grad():  # every view prefers lower ids
        order = torch.linspace(1, 0, 40).unsqueeze(1).expand(40, 4)
        model.user.weight.fill_(100.0)
        model.item.weight.copy_(order)
        for table in model.preference.values():
            table.fill_(0.01)
    little = Teacher.from_embeddings(
        torch.full((30, 1), 1e-4), order[:, :1], data
    )
    ckd = CKD({IMAGE: little, TEXT: little}, strength=1.0, on_random=None)
    task = Recommendation(model, data, balance=ckd)
    user = torch.arange(10)
    batch = user, torch.zeros_like(user), torch.full_like(user, 39)
    losses = task.losses(batch)
    scalars = losses.scalars
    assert scalars['specific_image'] == scalars['specific_text'] == 0
    assert losses.added == 0


def test_precision(data, random_teachers):
    """Under autocast nothing overflows, and the loss is about the same."""
    ckd = CKD(
        random_teachers(data), 0.7, on_random=SoftCrossEntropy(group_size=3)
    )
    task = Recommendation(wide(VBPR.from_data(data)), data, balance=ckd)
    batch = batch_of(data)
    torch.manual_seed(1)
    expected = task.losses(batch).total
    torch.manual_seed(1)
    with torch.autocast('cpu', torch.bfloat16):
        result = task.losses(batch).total
    torch.testing.assert_close(
        result.float(), expected, rtol=0.05, atol=0.05, check_dtype=False
    )


@pytest.mark.parametrize('name', MODELS)
def test_double_precision(name, data):
    """Teachers follow the precision of the student."""
    model = MODELS[name](data).double()
    task = Recommendation(model, data, balance=CKD())
    fit(task, max_epochs=1, precision='64-true', progress=False)
    assert all(math.isfinite(value) for value in task.history[0].values())


# Gates #######################################################################


def test_gate(data, random_teachers):
    """A view is taught while its teacher is ahead on validation."""
    ckd = CKD(random_teachers(data), weights=None, strength=1.0, gate=True)
    task = Recommendation(PlainRecommender(data), data, balance=ckd)
    ckd, batch = task.balance, batch_of(data)
    level = {
        keep: teacher.evaluate(data, split='val', ks=(20,))['recall@20']
        for keep, teacher in ckd.teachers.items()
    }

    def added(**own: float) -> tuple[float, dict[str, Tensor]]:
        ckd.validated(
            {f'val_recall@20/only({m})': value for m, value in own.items()}
        )
        torch.manual_seed(1)
        losses = task.losses(batch)
        return float(losses.added), losses.scalars

    both, scalars = added(image=-1.0, text=-1.0)
    assert ckd.teacher_level == level
    part = {
        m: float(scalars[f'specific_{m}'] + 5 * scalars[f'generic_{m}'])
        for m in ('image', 'text')
    }
    assert both == pytest.approx(sum(part.values()), rel=1e-5)
    # Level is not ahead:
    alone, _ = added(image=-1.0, text=level[TEXT])
    assert alone == pytest.approx(part['image'], rel=1e-5)
    alone, _ = added(image=level[IMAGE] + 0.1, text=level[TEXT] - 1e-6)
    assert alone == pytest.approx(part['text'], rel=1e-5)
    none, scalars = added(image=2.0, text=2.0)
    assert none == 0
    assert scalars['generic_text'] > 0  # what would be taught is still logged
    again, _ = added(image=-1.0, text=-1.0)
    assert again == both


def test_gate_of_the_full_view(data, random_teachers):
    ckd = CKD(random_teachers(data, [BOTH]), gate=True)
    task = Recommendation(PlainRecommender(data), data, balance=ckd)
    values = task.validation()
    assert values['val_recall@20/full'] == values['val_recall@20']
    for own, is_open in [(-1.0, True), (2.0, False)]:
        task.balance.validated({'val_recall@20/full': own})
        assert (task.losses(batch_of(data)).added > 0) == is_open


def test_without_gate_everything_is_taught(data, random_teachers):
    task = Recommendation(
        PlainRecommender(data), data, balance=CKD(random_teachers(data))
    )
    batch, results = batch_of(data), []
    for _ in range(2):
        torch.manual_seed(1)
        results.append(task.losses(batch).added)
        task.balance.validated({})
    assert torch.equal(*results)
    assert len(task.balance.teacher_level) == 2


def test_another_task_starts_with_open_gates(data, random_teachers):
    """A balance that has been trained brings its teachers, nothing else."""
    ckd = CKD(random_teachers(data), gate=True)
    first = Recommendation(PlainRecommender(data), data, balance=ckd)
    values = {'val_recall@20/only(image)': 2.0, 'val_recall@20/only(text)': 2.0}
    first.balance.validated(values)
    second = Recommendation(first.model, data, balance=first.balance)
    batch = batch_of(data)
    assert first.losses(batch).added == 0
    assert second.losses(batch).added > 0
    assert second.balance.teacher_level == {}
    assert second.balance.teachers[TEXT] is first.balance.teachers[TEXT]


# Random triples ##############################################################


@pytest.mark.parametrize('num_pairs', [7, 30, 5000])
def test_random_triples(num_pairs, data, random_teachers):
    # User 3 has no interactions left:
    user, item = data[RATES].edge_index
    data[RATES].edge_index = torch.stack([user, item])[:, user != 3]
    data[RATED_BY].edge_index = data[RATES].edge_index.flip(0)
    data = FREEDOM.pre_transform(data)
    ckd = CKD(on_random=SoftCrossEntropy(num_pairs=num_pairs))
    task = Recommendation(PlainRecommender(data), data, balance=ckd)
    for _ in range(5):
        user, one, other = task.balance.triples()
        assert len(user) == min(num_pairs, 29)
        assert len(one) == len(other) == len(user)
        assert user.unique().numel() == len(user)
        assert 3 not in user.tolist()
        items = torch.cat([one, other])
        assert 0 <= int(items.min()) <= int(items.max()) < 40
    draws = [torch.cat(task.balance.triples()) for _ in range(2)]
    assert not torch.equal(*draws)


def test_random_triples_are_uniform(data):
    ckd = CKD(on_random=SoftCrossEntropy(num_pairs=10))
    task = Recommendation(PlainRecommender(data), data, balance=ckd)
    draws = [task.balance.triples() for _ in range(800)]
    user, one, other = (torch.cat(side) for side in zip(*draws, strict=True))
    for value, size in [(user, 30), (one, 40), (other, 40)]:
        count = torch.bincount(value, minlength=size)
        assert chisquare(count).pvalue > 0.001
    pairs = torch.bincount(one * 40 + other, minlength=1600)
    assert chisquare(pairs).pvalue > 0.001


# Errors ######################################################################


@pytest.mark.parametrize('strength', [-0.1, math.nan])
def test_wrong_strength(strength):
    with pytest.raises(ValueError, match=rf"'strength'.*'CKD'.*{strength}\)"):
        CKD(strength=strength)


@pytest.mark.parametrize(
    ('name', 'part', 'wanted'),
    [
        ('on_batch', 'hinge', 'Module'),
        ('on_batch', Hinge, 'Module'),
        ('on_random', 'x', 'GenericLoss'),
        ('on_random', Hinge(), 'GenericLoss'),
        ('weights', 'student', 'CounterfactualWeights'),
        ('weights', True, 'CounterfactualWeights'),
    ],
)
def test_parts_of_another_class(name, part, wanted):
    with pytest.raises(TypeError, match=f"'{name}' needs to be a {wanted} or"):
        CKD(**{name: part})


@pytest.mark.parametrize('gate', ['recall', 'stacking', None, 1])
def test_gates_that_are_no_booleans(gate):
    with pytest.raises(TypeError, match="'gate' needs to be True or False"):
        CKD(gate=gate)


def test_random_triples_alone(data, random_teachers):
    """No margins of the batch are computed, and nothing else changes."""
    ckd = CKD(random_teachers(data), 0.5, on_batch=None, weights=None)
    task = Recommendation(PlainRecommender(data), data, BPR(), ckd)
    assert_naive(task, batch_of(data, 5))


def test_published():
    """It has the form of the authors' code, whatever the defaults become."""
    ckd = CKD.published()
    assert repr(ckd) == (
        'CKD(strength=0.01, on_batch=Hinge(selective=False), '
        'on_random=SoftCrossEntropy(tau=0.1, num_pairs=5000, weight=5.0, '
        'group_size=1, eps=1e-08, relative=False, band=None), '
        "weights=CounterfactualWeights(reference='student', "
        "effect='individual'), gate=False)"
    )
    assert CKD.published(strength=0.5).strength == 0.5


@pytest.mark.parametrize('group_size', [31, 5000])
def test_groups_larger_than_all_users(group_size, data, random_teachers):
    """All users are one group."""
    teachers, batch = random_teachers(data), batch_of(data, 5)
    model = PlainRecommender(data)
    found = []
    for size in (30, group_size):
        on_random = SoftCrossEntropy(group_size=size)
        ckd = CKD(teachers, on_random=on_random)
        task = Recommendation(model, data, BPR(), ckd)
        torch.manual_seed(1)
        found.append(assert_naive(task, batch).added)
    assert torch.equal(*found)


def test_a_task_of_a_view(data):
    """There is nothing to balance in a part of the modalities."""
    with pytest.raises(ValueError, match=r"'keep'.*full.*\['text'\]"):
        Recommendation(
            PlainRecommender(data), data, balance=CKD(), keep=only('text')
        )


def test_training_without_teachers(data):
    trainer = Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    task = Recommendation(PlainRecommender(data), data, balance=CKD())
    with pytest.raises(
        ValueError, match=r"'CKD' has no teachers.*fit_teachers"
    ):
        trainer.fit(task)
    with pytest.raises(
        ValueError, match=r"'CKD' has no teachers.*fit_teachers"
    ):
        task.losses(batch_of(data))


def test_the_old_way_of_calling(data):
    with pytest.raises(ValueError, match=r'dictionary.*\(got a PlainRec\w+\)'):
        CKD(PlainRecommender(data), data)


# State #######################################################################


def saved(module: nn.Module) -> dict[str, object]:
    """Return the state of a module, as it comes back from a file."""
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize('given', [True, False])
def test_state(given, data, random_teachers):
    """A checkpoint holds teachers, levels and gates."""
    ckd = CKD(random_teachers(data, [BOTH, TEXT]), gate=True)
    model = wide(PlainRecommender(data))
    task = Recommendation(model, data, balance=ckd)
    values = {'val_recall@20/full': -1.0, 'val_recall@20/only(text)': 2.0}
    task.balance.validated(values)

    others = random_teachers(data) if given else None
    other = Recommendation(
        PlainRecommender(data), data, balance=CKD(others, gate=True)
    )
    other.load_state_dict(saved(task))
    assert list(other.balance.teachers) == list(task.balance.teachers)
    for keep, teacher in task.balance.teachers.items():
        loaded = other.balance.teachers[keep]
        assert torch.equal(loaded.user, teacher.user)
        assert torch.equal(loaded.item, teacher.item)
        assert loaded.settings == teacher.settings
    assert other.balance.teacher_level == task.balance.teacher_level
    batch, results = batch_of(data), []
    for each in (task, other):
        torch.manual_seed(1)
        results.append(each.losses(batch))
    torch.testing.assert_close(
        results[0].scalars, results[1].scalars, rtol=0, atol=0
    )
    assert torch.equal(results[0].total, results[1].total)
    # The gate of `text` is closed, that of the full view is open:
    torch.testing.assert_close(
        results[1].added.detach(),
        0.01
        * (
            results[1].scalars['specific_full']
            + 5 * results[1].scalars['generic_full']
        ),
    )


def test_state_of_other_data(data, random_teachers):
    task = Recommendation(
        PlainRecommender(data), data, balance=CKD(random_teachers(data))
    )
    changed = graph(seed=1)
    other = Recommendation(PlainRecommender(changed), changed, balance=CKD())
    with pytest.raises(ValueError, match='teachers of other data'):
        other.load_state_dict(task.state_dict())
    # Unless it is not part of a task yet:
    ckd = CKD()
    ckd.load_state_dict(task.balance.state_dict())
    assert set(ckd.teachers) == {IMAGE, TEXT}


def test_tasks_share_no_state(data, random_teachers):
    given = random_teachers(data)
    ckd = CKD(given, gate=True)
    first, second = (
        Recommendation(PlainRecommender(data), data, balance=ckd)
        for _ in range(2)
    )
    first.balance.validated(
        {'val_recall@20/only(image)': 2.0, 'val_recall@20/only(text)': 2.0}
    )
    first.balance.on_random.weight = 0.0
    first.balance.teachers.load_state([])
    given.clear()
    batch = batch_of(data)
    assert second.losses(batch).added > 0
    assert second.balance.teacher_level == {}
    assert set(second.balance.teachers) == set(ckd.teachers) == {IMAGE, TEXT}
    # Nor do defaults share theirs:
    ckd.on_random.tau = 9.0
    assert CKD().on_random.tau == 0.1


def test_teachers_do_not_change(data, random_teachers):
    teachers = random_teachers(data)
    before = {keep: t.user.clone() for keep, t in teachers.items()}
    task = Recommendation(
        PlainRecommender(data), data, balance=CKD(teachers, strength=1.0)
    )
    fit(task, max_epochs=2, progress=False)
    for keep, teacher in task.balance.teachers.items():
        assert torch.equal(teacher.user, before[keep])
        assert not teacher.user.requires_grad


def test_order_of_interactions_and_teachers_does_not_matter(
    data, random_teachers
):
    teachers = random_teachers(data, [BOTH, IMAGE, TEXT])
    model = wide(PlainRecommender(data))
    batch = batch_of(data)
    losses = []
    for several in (teachers, dict(reversed(teachers.items()))):
        task = Recommendation(model, data, balance=CKD(several))
        assert list(task.balance.teachers) == [BOTH, IMAGE, TEXT]
        torch.manual_seed(1)
        losses.append(task.losses(batch).total)
        for name in (RATES, RATED_BY):
            data[name].edge_index = data[name].edge_index.flip(1)
    assert torch.equal(*losses)


def test_repr(data, random_teachers):
    """It holds settings, and no teachers."""
    assert repr(CKD()) == (
        'CKD(strength=0.01, on_batch=Hinge(selective=False), '
        'on_random=SoftCrossEntropy(tau=0.1, num_pairs=640, weight=5.0, '
        'group_size=8, eps=0.0, relative=False, band=None), '
        "weights=CounterfactualWeights(reference='student', "
        "effect='individual'), gate=False)"
    )
    assert repr(CKD(random_teachers(data), 0.5, None, None, None, True)) == (
        'CKD(strength=0.5, on_batch=None, on_random=None, weights=None, '
        'gate=True)'
    )


# Other people's models #######################################################


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


def test_third_party_student():
    data = fake_graph(num_users=100, num_items=50)
    model = HeteroSAGE(data)
    ckd = CKD(on_random=SoftCrossEntropy(num_pairs=50))
    task = Recommendation(model, data, balance=ckd, lr=0.01, batch_size=200)
    assert task.model is model
    assert not task.balance.teachers
    before = copy.deepcopy(model.state_dict())
    fit(task, max_epochs=4, eval_every=2, progress=False)

    assert set(task.balance.teachers) == {IMAGE, TEXT}
    for teacher in task.balance.teachers.values():
        assert teacher.user.shape == (100, 8)
        assert teacher.item.shape == (50, 8)
    assert any(
        not torch.equal(value, before[key])
        for key, value in model.state_dict().items()
    )
    entry = task.history[-1]
    assert {'base', 'specific_image', 'generic_text', 'spread_text'} <= set(
        entry
    )
    assert entry['weight_image'] + entry['weight_text'] == pytest.approx(
        2, abs=1e-4
    )
    item, _ = task.recommend([0, 1], k=3)
    assert item.shape == (2, 3)


def test_third_party_loss(random_teachers):
    data = fake_graph(num_users=30, num_items=20)
    ckd = CKD(random_teachers(data), 0.7, Hinge(), SoftCrossEntropy(tau=2.0))
    task = Recommendation(HeteroSAGE(data), data, BPR(), ckd)
    assert_naive(task, batch_of(data, 5))


def test_teachers_of_another_class(data):
    """A teacher may be any model: here, VBPR teaches LightGCN."""
    teachers: dict[Keep, Teacher] = {
        only(m): Teacher.from_model(VBPR.from_data(data, dim=3), data, only(m))
        for m in modalities(data)
    }
    model = LightGCN.from_data(data, dim=4)
    task = Recommendation(model, data, balance=CKD(teachers))
    fit(task, max_epochs=1, progress=False)
    assert task.balance.teachers[TEXT].user.shape == (30, 6)
