import copy
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import nn

from pyg_ckd.balance import (
    CKD,
    CounterfactualWeights,
    SoftCrossEntropy,
    Teacher,
    Teachers,
)
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATES, modalities
from pyg_ckd.inspect import Diagnosis, diagnose
from pyg_ckd.nn import BPRMF, VBPR, as_recommender
from pyg_ckd.objectives import BPR
from pyg_ckd.ranking import evaluate
from pyg_ckd.testing import PlainRecommender
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.views import full, only, view, without

# Training by CKD warns of what `diagnose` is to find:
pytestmark = pytest.mark.filterwarnings('ignore:The teacher of')

NAMES = ['image', 'text', 'sound']
SHARES = {'5%': 0.05, '25%': 0.25, '50%': 0.5, '75%': 0.75, '95%': 0.95}


class Plain(PlainRecommender):
    """Fuses modalities non-linearly, and changes itself in training."""

    def __init__(self, data):
        super().__init__(data)
        first, *rest = self.item
        self.item = nn.Sequential(
            first, nn.BatchNorm1d(8), *rest[:-1], nn.Dropout(0.5), rest[-1]
        )


def shop(names=NAMES, num_users=12, num_items=25):
    spread = dict.fromkeys(names, 1.0)
    return FakeMultimodal(
        num_users, num_items, 8, taste=spread, noise=spread, num_channels=3
    )[0]


def random_teachers(data):
    sizes = data['user'].num_nodes, data['item'].num_nodes
    return {
        only(m): Teacher.from_embeddings(
            torch.randn(sizes[0], 3), torch.randn(sizes[1], 3), data
        )
        for m in modalities(data)
    }


@pytest.fixture
def data():
    return shop()


@pytest.fixture
def teachers(data):
    return random_teachers(data)


@pytest.fixture
def model(data):
    return Plain(data)


@pytest.fixture(scope='module')
def trained():
    """A student of three modalities with a history."""
    torch.manual_seed(0)
    data = shop(num_users=40, num_items=40)
    model = VBPR.from_data(data, dim=4)
    balance = CKD(on_random=SoftCrossEntropy(num_pairs=20))
    task = Recommendation(model, data, balance=balance, lr=0.02, batch_size=64)
    return fit(task, max_epochs=6, eval_every=1, progress=False)


@pytest.fixture(scope='module')
def found(trained):
    return diagnose(
        trained.model,
        trained.data,
        trained.balance.teachers,
        history=trained.history,
    )


# Recall ######################################################################


@pytest.mark.parametrize(('split', 'k'), [('val', 20), ('test', 5)])
def test_recall(data, teachers, model, split, k):
    result = diagnose(model, data, teachers, split=split, k=k)
    keeps = {'full': full(NAMES)}
    keeps |= {f'only({m})': only(m) for m in NAMES}
    keeps |= {f'without({m})': without(NAMES, m) for m in NAMES}
    assert list(result.recall) == list(keeps)
    for name, keep in keeps.items():
        own = evaluate(model, data, split, (k,), view=keep)
        assert result.recall[name] == pytest.approx(own[f'recall@{k}'])
    assert list(result.teacher) == [f'only({m})' for m in NAMES]
    for m in NAMES:
        level = naive_recall(teachers[only(m)], data, split, k)
        assert result.teacher[f'only({m})'] == pytest.approx(level)
        gap = 1 - result.recall[f'only({m})'] / level
        assert result.gap[f'only({m})'] == pytest.approx(gap)
    assert result.metric == f'{split} recall@{k}'


def naive_recall(teacher, data, split, k):
    """The mean recall of a teacher, by loops."""
    score = teacher.user @ teacher.item.t()
    for user, item in data[RATES].edge_index.t().tolist():
        score[user, item] = -torch.inf
    held_out = data[RATES][f'{split}_edge_label_index'].t().tolist()
    shares = []
    for user in {user for user, _ in held_out}:
        top = score[user].argsort(descending=True)[:k].tolist()
        items = [item for other, item in held_out if other == user]
        shares.append(sum(item in top for item in items) / len(items))
    return sum(shares) / len(shares)


def test_two_modalities():
    data = shop(['image', 'text'])
    result = diagnose(Plain(data), data, random_teachers(data))
    assert list(result.recall) == ['full', 'only(image)', 'only(text)']


def test_teacher_that_finds_nothing(data, teachers, model):
    teachers[only('text')] = replace(
        teachers[only('text')],
        # One that ranks the held-out items, one for each user, last:
        user=torch.eye(12),
        item=-F.one_hot(data[RATES].val_edge_label_index[1], num_classes=25)
        .t()
        .float(),
    )
    result = diagnose(model, data, teachers, k=2)
    assert result.teacher['only(text)'] == 0
    assert result.gap['only(text)'] == 0
    assert 'text' in str(result)


# Progress and weights ########################################################


def every_triple(data):
    """All training triples and how likely each is to be drawn."""
    seen = [set() for _ in range(data['user'].num_nodes)]
    pairs = data[RATES].edge_index.t().tolist()
    for user, item in pairs:
        seen[user].add(item)
    triples, chance = [], []
    for user, pos in pairs:
        others = set(range(data['item'].num_nodes)) - seen[user]
        triples += [(user, pos, neg) for neg in others]
        chance += [1 / len(pairs) / len(others)] * len(others)
    columns = torch.tensor(triples).t()
    return columns, torch.tensor(chance, dtype=torch.double)


def naive_margins(model, data, teachers):
    """The margin of each triple in each view, and of each teacher."""
    (user, pos, neg), _ = every_triple(data)

    def margin(users, items):
        return (users[user] * (items[pos] - items[neg])).sum(dim=-1)

    model = as_recommender(model.eval())
    views = {
        'full': margin(*view(model, data, full(NAMES))),
        'only': [margin(*view(model, data, only(m))) for m in NAMES],
        'without': [
            margin(*view(model, data, without(NAMES, m))) for m in NAMES
        ],
    }
    own = [teachers[only(m)] for m in NAMES]
    taught = [margin(teacher.user, teacher.item) for teacher in own]
    return views, taught


def naive_weights(views, reference):
    """The progress and the weight of each triple, one at a time."""
    progress, weight = [], []
    for n, everything in enumerate(views['full'].tolist()):
        c = []
        for m in range(len(NAMES)):
            effect = everything - views['without'][m][n].item()
            c.append(min(max(effect / reference[m][n].item(), 1e-8), 10))
        total = sum(1 / value for value in c)
        progress.append(c)
        weight.append([len(NAMES) / value / total for value in c])
    return torch.tensor(progress).double(), torch.tensor(weight).double()


@pytest.mark.parametrize('reference', ['student', 'teacher'])
def test_distributions(data, teachers, model, reference):
    _, chance = every_triple(data)
    views, taught = naive_margins(model, data, teachers)
    progress, weight = naive_weights(
        views, views['only'] if reference == 'student' else taught
    )
    balance = CKD(weights=CounterfactualWeights(reference))
    result = diagnose(
        model, data, teachers, num_triples=20_000, balance=balance
    )
    assert result.num_triples == 20_000
    for found, values in (
        (result.progress, progress),
        (result.weight, weight),
    ):
        for m, column in zip(NAMES, values.t(), strict=True):
            mean = float(chance @ column)
            error = float(chance @ (column - mean) ** 2 / 20_000) ** 0.5
            assert found[m]['mean'] == pytest.approx(mean, abs=5 * error)
            assert list(found[m]) == ['mean', *SHARES]
            for key, share in SHARES.items():
                slack = 1e-4 * (abs(found[m][key]) + 1e-8)
                below = float(chance[column < found[m][key] - slack].sum())
                up_to = float(chance[column <= found[m][key] + slack].sum())
                assert below - 0.015 <= share <= up_to + 0.015
    for m, column in zip(NAMES, progress.t(), strict=True):
        wrong = float(chance[column < 1.1e-8].sum())
        large = float(chance[column > 9.999].sum())
        assert 0.01 < wrong < 0.99
        assert result.clamped[m]['wrong sign'] == pytest.approx(wrong, abs=0.01)
        assert result.clamped[m]['too large'] == pytest.approx(large, abs=0.01)


@pytest.mark.parametrize('reference', ['student', 'teacher'])
def test_averages(data, teachers, model, reference):
    _, chance = every_triple(data)
    views, taught = naive_margins(model, data, teachers)
    base = views['only'] if reference == 'student' else taught
    result = diagnose(
        model,
        data,
        teachers,
        num_triples=40_000,
        batch_size=40_000,
        balance=CKD(weights=CounterfactualWeights(reference, 'average')),
    )
    for i, m in enumerate(NAMES):
        effect = (views['full'] - views['without'][i]).double()
        mean = chance @ base[i].double()
        ratio = chance @ effect / mean
        # The error of a ratio of two means:
        error = chance @ (effect - ratio * base[i].double()).square() / 40_000
        error = (error.sqrt() / mean.abs()).item()
        expected = min(max(ratio.item(), 1e-8), 10)
        for value in result.progress[m].values():
            assert value == pytest.approx(expected, abs=4 * error)


def test_averages_are_those_of_batches(data, teachers, model):
    whole, parts = (
        diagnose(
            model,
            data,
            teachers,
            num_triples=640,
            batch_size=size,
            balance=CKD(weights=CounterfactualWeights(effect='average')),
        )
        for size in (640, 64)
    )
    assert whole.progress['text']['5%'] == whole.progress['text']['95%']
    assert parts.progress['text']['5%'] < parts.progress['text']['95%']


def test_weights_of_a_ckd_without_weights(data, teachers, model):
    result = diagnose(model, data, teachers)
    other = diagnose(model, data, teachers, balance=CKD(weights=None))
    assert result.weight == other.weight
    assert other.weight['text']['mean'] != 1


def test_teachers_of_some_views(data, teachers, model):
    """Gaps are those of all views that are taught, weights of modalities."""
    keep = frozenset(NAMES[:2])
    some = {
        only('text'): teachers[only('text')],
        full(NAMES): teachers[only('image')],
        keep: teachers[only('sound')],
    }
    result = diagnose(model, data, some, k=5)
    views = {'only(text)': only('text'), 'full': full(NAMES)}
    views['without(sound)'] = keep
    assert result.gap.keys() == views.keys()
    for name, view_of in views.items():
        teacher = some[view_of]
        own = evaluate(model, data, 'val', (5,), view=view_of)['recall@5']
        level = naive_recall(teacher, data, 'val', 5)
        assert result.gap[name] == pytest.approx(1 - own / level)
    assert list(result.progress) == list(result.weight) == ['text']
    # There is nothing to be weighed against:
    assert set(result.weight['text'].values()) == {1.0}
    assert 'effects' not in result.signs
    everything = diagnose(model, data, teachers, k=5)
    assert result.progress['text'] == everything.progress['text']
    assert len(result.plot().axes) == 2


# Agreement ###################################################################


def test_history(trained, found):
    assert found.epochs == [1, 2, 3, 4, 5, 6]
    for m in NAMES:
        level = naive_recall(
            trained.balance.teachers[only(m)], trained.data, 'val', 20
        )
        weights = [entry[f'weight_{m}'] for entry in trained.history]
        gaps = [
            1 - entry[f'val_recall@20/only({m})'] / level
            for entry in trained.history
        ]
        assert found.weights[m] == weights
        assert found.gaps[m] == pytest.approx(gaps)
        assert found.agreement[m] == pytest.approx(
            spearmanr(weights, gaps).statistic
        )
    assert list(found.agreement) == [*NAMES, 'pooled']


def test_history_is_of_recall_at_20(trained, found):
    other = diagnose(
        trained.model,
        trained.data,
        trained.balance.teachers,
        history=trained.history,
        split='test',
        k=3,
    )
    assert other.gaps == found.gaps
    assert other.gap != found.gap


def with_curves(found, weights, gaps):
    return replace(
        found,
        epochs=list(range(len(weights[0]))),
        weights=dict(zip(NAMES, weights, strict=True)),
        gaps=dict(zip(NAMES, gaps, strict=True)),
    )


def naive_correlation(first, second):
    """Pearson's correlation of ranks, ties having the mean rank."""
    ranks = [
        [
            sum(other < value for other in series)
            + (sum(other == value for other in series) + 1) / 2
            for value in series
        ]
        for series in (first, second)
    ]
    means = [sum(rank) / len(rank) for rank in ranks]
    a, b = (
        [value - mean for value in rank]
        for rank, mean in zip(ranks, means, strict=True)
    )
    product = sum(x * y for x, y in zip(a, b, strict=True))
    norm = (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
    return product / norm if norm else None


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_agreement(found, draw):
    num = draw.draw(st.integers(1, 7))
    series = st.lists(st.integers(0, 3).map(float), min_size=num, max_size=num)
    table = st.lists(series, min_size=3, max_size=3)
    weights, gaps = draw.draw(table), draw.draw(table)
    result = with_curves(found, weights, gaps).agreement
    pooled = naive_correlation(list(chain(*weights)), list(chain(*gaps)))
    pairs = map(naive_correlation, weights, gaps)
    for name, value in zip([*NAMES, 'pooled'], [*pairs, pooled], strict=True):
        if num < 4 or value is None:
            assert result[name] is None
        else:
            assert result[name] == pytest.approx(value, abs=1e-9)


def test_constant_weights_agree_with_nothing(found):
    rising = [[0.1, 0.2, 0.3, 0.4]] * 3
    result = with_curves(found, [[1.0] * 4] * 3, rising)
    assert set(result.agreement.values()) == {None}
    result = with_curves(found, [[1.0] * 4, *rising[1:]], rising)
    assert result.agreement['image'] is None
    assert result.agreement['text'] == 1
    assert result.agreement['pooled'] is not None


def test_points(found):
    [line] = [
        line for line in str(found).splitlines() if line.startswith('pooled')
    ]
    assert line.split()[-1] == '18'
    assert f'{found.agreement["pooled"]:+.2f}' in line


# Gradient and signs ##########################################################


def test_gradient_share(data, teachers, model):
    triples, chance = every_triple(data)
    model.eval()
    views, taught = naive_margins(model, data, teachers)
    _, weight = naive_weights(views, views['only'])
    users, items = model(data)
    chance = chance.float()
    squares = [users[triples[0]], items[triples[1]], items[triples[2]]]
    base = -F.logsigmoid(views['full'])
    base = base + 0.05 / 2 * sum(x.square().sum(dim=-1) for x in squares)
    distillation = sum(
        weight[:, i].float() * (taught[i] - views['only'][i]).clamp(min=0)
        for i in range(len(NAMES))
    )
    norms = []
    for side in (base, 0.3 * distillation):
        grads = torch.autograd.grad(
            chance @ side, model.parameters(), retain_graph=True
        )
        norms.append(sum(float(g.square().sum()) for g in grads) ** 0.5)
    result = diagnose(
        model,
        data,
        teachers,
        num_triples=20_000,
        batch_size=20_000,
        balance=CKD(strength=0.3, on_random=None),
        objective=BPR(l2=0.05),
    )
    expected = norms[1] / sum(norms)
    assert 0.1 < expected < 0.9
    assert result.gradient_share == pytest.approx(expected, rel=0.03)


def test_settings_of_distillation(data, teachers, model):
    share = {
        strength: diagnose(
            model, data, teachers, balance=CKD(strength=strength)
        ).gradient_share
        for strength in (0, 0.01, 0.02)
    }
    assert share[0] == 0
    odds = [share[s] / (1 - share[s]) for s in (0.01, 0.02)]
    assert odds[1] == pytest.approx(2 * odds[0], rel=1e-4)
    nothing = CKD(on_batch=None, on_random=None)
    without_any = diagnose(model, data, teachers, balance=nothing)
    assert without_any.gradient_share == 0


def own_teachers(model, data):
    """Views of the model itself."""
    return {only(m): Teacher.from_model(model, data, only(m)) for m in NAMES}


def test_gates(data, teachers, model):
    model = VBPR.from_data(data, dim=4)
    taught = own_teachers(model, data)
    # Nothing is ahead of its own view, so all gates are shut:
    shut = diagnose(model, data, taught, balance=CKD(gate=True))
    assert shut.gradient_share == 0
    assert diagnose(model, data, taught).gradient_share > 0


def test_signs(data, model):
    student = VBPR.from_data(data, dim=4)
    result = diagnose(
        student,
        data,
        own_teachers(student, data),
        split='test',
        k=3,
        balance=CKD(strength=1000),
    )
    names = {f'teacher of only({m})' for m in NAMES} | {'gradient'}
    assert set(result.signs) == names
    level = evaluate(student, data, 'val', (20,), view=only('text'))
    expected = f'the validation Recall@20 {level["recall@20"]:.4f}'
    assert expected in result.signs['teacher of only(text)']
    text = ' '.join(str(result).split())
    for sign in result.signs.values():
        assert 'epoch' not in sign
        assert sign in text
    assert 'No sign of failure' not in text


def test_no_sign(found):
    healthy = replace(found, signs={})
    assert str(healthy).endswith('No sign of failure.')


# What stays as it was ########################################################


def test_nothing_changes(data, teachers, model):
    model.train()
    model.user.eval()
    user, item = model(data)
    (user.sum() + item.square().sum()).backward()
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    state = copy.deepcopy(model.state_dict())
    grads = [p.grad.clone() for p in model.parameters()]
    before = copy.deepcopy(data)
    random = torch.get_rng_state()
    own = dict(teachers)

    first = diagnose(model, data, teachers, num_triples=100)

    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    for p, grad in zip(model.parameters(), grads, strict=True):
        assert p.requires_grad
        assert torch.equal(p.grad, grad)
    assert data.to_dict().keys() == before.to_dict().keys()
    for store, other in zip(data.stores, before.stores, strict=True):
        assert list(store.keys()) == list(other.keys())
        for key, value in store.items():
            assert torch.as_tensor(value).equal(torch.as_tensor(other[key]))
    assert teachers == own
    balance = CKD(teachers, gate=True)
    levels = dict(balance.teacher_level)
    diagnose(model, data, teachers, num_triples=100, balance=balance)
    assert balance.teacher_level == levels

    torch.rand(3)
    assert diagnose(model, data, teachers, num_triples=100) == first
    other = diagnose(model, data, teachers, num_triples=100, seed=1)
    assert other.progress != first.progress
    assert other.recall == first.recall
    assert diagnose(model.eval(), data, teachers, num_triples=100) == first


def test_model_stays_as_it_was_after_an_error(data, teachers, model):
    model.train()
    random = torch.get_rng_state()
    with pytest.raises(ValueError, match=r'at least 1 \(got 0\)'):
        diagnose(model, data, teachers, k=0)
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)


def test_frozen(found):
    with pytest.raises(FrozenInstanceError):
        found.gradient_share = 0.5


def test_lightning_is_not_loaded_before_it_is_needed():
    code = (
        'import sys; sys.modules.update(pytorch_lightning=None); '
        'import pyg_ckd.inspect'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


# Text and plot ###############################################################


def test_text(found):
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 80
    first = Counter(line.split('  ')[0].strip() for line in lines)
    for m in NAMES:
        assert first[m] == 4, m  # progress, weight, bounds and agreement
        assert first[f'only({m})'] == first[f'without({m})'] == 1
    [line] = [line for line in lines if line.startswith('only(text)')]
    expected = [found.recall['only(text)'], found.teacher['only(text)']]
    assert line.split()[1:] == [
        *(f'{value:.4f}' for value in expected),
        f'{found.gap["only(text)"]:+.1%}',
    ]
    assert f'{found.gradient_share:.1%}' in str(found)
    cells = [line.split() for line in lines]
    for table, form in (
        (found.progress, '.3g'),
        (found.weight, '.2f'),
        (found.clamped, '.1%'),
    ):
        assert ['text', *(f'{x:{form}}' for x in table['text'].values())] in (
            cells
        )


def test_text_is_only_returned(found, capsys):
    text = str(found)
    assert '\x1b' not in text
    assert capsys.readouterr().out == ''


def test_odd_names():
    names = ['[red]', ':smile: ' * 5, 'words of those who bought it' * 2]
    data = shop(names)
    result = diagnose(Plain(data), data, random_teachers(data))
    lines = str(result).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum('[red]' in line for line in lines) >= 4
    assert ':smile:' in str(result)


def test_no_history(found):
    bare = replace(found, epochs=[], weights={}, gaps={})
    assert 'rank correlation' in str(found)
    assert 'rank correlation' not in str(bare)
    assert len(bare.plot().axes) == 2


def test_plot(found):
    figure = found.plot()
    left, middle, right, twin = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(
        found.recall
    )
    bars = left.patches
    lengths = [*found.recall.values(), *found.teacher.values()]
    assert [bar.get_width() for bar in bars] == pytest.approx(lengths)
    # A teacher is below its view, which is above its tick:
    edges = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in bars]
    assert [max(edge) for edge in edges[:7]] == list(range(7))
    assert [min(edge) for edge in edges[7:]] == [1, 2, 3]

    assert [label.get_text() for label in middle.get_yticklabels()] == NAMES
    spans = [
        [float(x) for x, _ in path.vertices]
        for lines in middle.collections
        for path in lines.get_paths()
    ]
    assert spans == [
        [found.weight[m][low], found.weight[m][high]]
        for m in NAMES
        for low, high in (('5%', '95%'), ('25%', '75%'))
    ]
    for panel, curves in ((right, found.weights), (twin, found.gaps)):
        lines = [list(line.get_ydata()) for line in panel.lines]
        assert [line for line in lines if line] == list(curves.values())
    [legend] = figure.legends
    assert [text.get_text() for text in legend.texts] == [
        'model',
        'teacher',
        *NAMES,
        'weight',
        'gap',
    ]


def test_labels_do_not_overlap(found):
    figure = found.plot()
    figure.canvas.draw()
    for panel in figure.axes:
        for axis in (panel.xaxis, panel.yaxis):
            boxes = [
                label.get_window_extent()
                for label in axis.get_ticklabels()
                if label.get_text()
            ]
            for i, box in enumerate(boxes):
                assert not any(box.overlaps(other) for other in boxes[:i])
    left, middle, *_ = figure.axes
    boundary = left.get_window_extent().x1
    for label in middle.get_yticklabels():
        assert label.get_window_extent().x0 > boundary


# Errors ######################################################################


def test_names_for_teachers_are_refused(data, teachers, model):
    named = {m: teachers[only(m)] for m in NAMES}
    with pytest.raises(ValueError, match=r"'teachers' needs the view"):
        diagnose(model, data, named)


@pytest.mark.parametrize('none', [None, {}, Teachers()])
def test_no_teachers(none, data, model):
    with pytest.raises(ValueError, match=r'such as task\.balance\.teachers'):
        diagnose(model, data, none)


def test_no_teacher_of_a_modality(data, teachers, model):
    other = {full(NAMES): teachers[only('text')]}
    with pytest.raises(
        ValueError, match=r"modality alone.*'diagnose' \(got .*full\)"
    ):
        diagnose(model, data, other)


def test_one_modality():
    data = shop(['text'])
    with pytest.raises(ValueError, match='at least two'):
        diagnose(Plain(data), data, random_teachers(data))


def test_features_do_not_matter(data, teachers):
    with pytest.raises(ValueError, match='do not change'):
        diagnose(BPRMF.from_data(data), data, teachers)


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ({'num_triples': 0}, r"'num_triples' needs .* at least 1, .*\(got 0\)"),
        ({'split': 'train'}, r"'split' needs.*\(got 'train'\)"),
        ({'batch_size': 0}, r"'batch_size' needs.*\(got 0\)"),
    ],
)
def test_argument_error(data, teachers, model, argument, message):
    with pytest.raises(ValueError, match=message):
        diagnose(model, data, teachers, **argument)


def test_history_of_another_task(data, teachers):
    task = Recommendation(VBPR.from_data(data, dim=4), data)
    task = fit(task, max_epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"'history'.*CKD.*'weight_image'"):
        diagnose(task.model, data, teachers, history=task.history)


def test_double_precision(data, teachers):
    model = Plain(data).double()
    result = diagnose(model, data, teachers, num_triples=100)
    single = diagnose(model.float(), data, teachers, num_triples=100)
    assert result.recall == pytest.approx(single.recall)
    mean = single.progress['text']['50%']
    assert result.progress['text']['50%'] == pytest.approx(mean, rel=1e-3)


def test_type(found):
    assert isinstance(found, Diagnosis)
