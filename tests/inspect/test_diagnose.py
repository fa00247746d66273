import copy
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

from pyg_ckd.analysis.diagnose import Diagnosis, diagnose
from pyg_ckd.graph import RATES, modalities
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.distill import Teacher
from pyg_ckd.evaluation import evaluate
from pyg_ckd.nn import BPRMF, VBPR
from pyg_ckd.train import CKD, Recommendation, fit
from pyg_ckd.views import full, only, view, without

# Training by CKD warns of what `diagnose` is to find:
pytestmark = pytest.mark.filterwarnings('ignore:The teacher of')

NAMES = ['image', 'text', 'sound']
SHARES = {'5%': 0.05, '25%': 0.25, '50%': 0.5, '75%': 0.75, '95%': 0.95}


class Plain(nn.Module):
    """Fuses modalities non-linearly, and changes itself in training."""

    def __init__(self, data):
        super().__init__()
        self.names = modalities(data)
        size = sum(data['item'][f'x_{m}'].size(1) for m in self.names)
        self.user = nn.Embedding(data['user'].num_nodes, 4)
        self.item = nn.Sequential(
            nn.Linear(size, 8),
            nn.BatchNorm1d(8),
            nn.Tanh(),
            nn.Dropout(0.5),
            nn.Linear(8, 4),
        )

    def forward(self, data):
        x = torch.cat([data['item'][f'x_{m}'] for m in self.names], dim=-1)
        return self.user.weight, self.item(x)


def shop(names=NAMES, num_users=12, num_items=25):
    spread = dict.fromkeys(names, 1.0)
    return FakeMultimodal(
        num_users, num_items, 8, taste=spread, noise=spread, num_channels=3
    )[0]


def random_teachers(data):
    sizes = data['user'].num_nodes, data['item'].num_nodes
    return {
        m: Teacher.from_embeddings(
            torch.randn(sizes[0], 3), torch.randn(sizes[1], 3), data, m
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
    task = CKD(model, data, lr=0.02, num_generic=20, batch_size=64)
    return fit(task, max_epochs=6, eval_every=1, progress=False)


@pytest.fixture(scope='module')
def found(trained):
    return diagnose(
        trained.model, trained.data, trained.teachers, history=trained.history
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
    assert list(result.teacher) == NAMES
    for m, teacher in teachers.items():
        level = naive_recall(teacher, data, split, k)
        assert result.teacher[m] == pytest.approx(level)
        gap = 1 - result.recall[f'only({m})'] / level
        assert result.gap[m] == pytest.approx(gap)
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
    teachers['text'] = replace(
        teachers['text'],
        # One that ranks the held-out items, one for each user, last:
        user=torch.eye(12),
        item=-F.one_hot(data[RATES].val_edge_label_index[1], num_classes=25)
        .t()
        .float(),
    )
    result = diagnose(model, data, teachers, k=2)
    assert result.teacher['text'] == 0
    assert result.gap['text'] == 0
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

    model.eval()
    views = {
        'full': margin(*view(model, data, full(NAMES))),
        'only': [margin(*view(model, data, only(m))) for m in NAMES],
        'without': [
            margin(*view(model, data, without(NAMES, m))) for m in NAMES
        ],
    }
    taught = [margin(teachers[m].user, teachers[m].item) for m in NAMES]
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
    result = diagnose(
        model, data, teachers, num_triples=20_000, reference=reference
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
        effect='average',
        reference=reference,
    )
    for i, m in enumerate(NAMES):
        effect = chance @ (views['full'] - views['without'][i]).double()
        expected = (effect / (chance @ base[i].double())).item()
        expected = min(max(expected, 1e-8), 10)
        for value in result.progress[m].values():
            assert value == pytest.approx(expected, rel=0.1)


def test_averages_are_those_of_batches(data, teachers, model):
    whole, parts = (
        diagnose(
            model,
            data,
            teachers,
            num_triples=640,
            batch_size=size,
            effect='average',
        )
        for size in (640, 64)
    )
    assert whole.progress['text']['5%'] == whole.progress['text']['95%']
    assert parts.progress['text']['5%'] < parts.progress['text']['95%']


def test_weights_without_reweighting(data, teachers, model):
    result = diagnose(model, data, teachers)
    other = diagnose(model, data, teachers, reweight=False)
    assert result.weight == other.weight
    assert other.weight['text']['mean'] != 1


# Agreement ###################################################################


def test_history(trained, found):
    assert found.epochs == [1, 2, 3, 4, 5, 6]
    for m in NAMES:
        level = naive_recall(trained.teachers[m], trained.data, 'val', 20)
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
        trained.teachers,
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
        strength=0.3,
        gamma=0,
        l2=0.05,
    )
    expected = norms[1] / sum(norms)
    assert 0.1 < expected < 0.9
    assert result.gradient_share == pytest.approx(expected, rel=0.03)


def test_settings_of_distillation(data, teachers, model):
    share = {
        strength: diagnose(
            model, data, teachers, strength=strength
        ).gradient_share
        for strength in (0, 0.01, 0.02)
    }
    assert share[0] == 0
    odds = [share[s] / (1 - share[s]) for s in (0.01, 0.02)]
    assert odds[1] == pytest.approx(2 * odds[0], rel=1e-4)
    without_any = diagnose(model, data, teachers, gamma=0, specific=None)
    assert without_any.gradient_share == 0


def test_gates(data, teachers, model):
    model = VBPR.from_data(data, dim=4)
    taught = {m: Teacher.from_model(model, data, m) for m in NAMES}
    # Nothing is ahead of its own view, so all gates are shut:
    assert diagnose(model, data, taught, gate=True).gradient_share == 0
    assert diagnose(model, data, taught).gradient_share > 0


def test_signs(data, model):
    student = VBPR.from_data(data, dim=4)
    teachers = {m: Teacher.from_model(student, data, m) for m in NAMES}
    result = diagnose(student, data, teachers, split='test', k=3, strength=1000)
    names = {f'teacher of {m}' for m in NAMES} | {'gradient'}
    assert set(result.signs) == names
    level = evaluate(student, data, 'val', (20,), view=only('text'))
    expected = f'validation Recall@20 {level["recall@20"]:.4f}'
    assert expected in result.signs['teacher of text']
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

    torch.rand(3)
    assert diagnose(model, data, teachers, num_triples=100) == first
    other = diagnose(model, data, teachers, num_triples=100, seed=1)
    assert other.progress != first.progress
    assert other.recall == first.recall
    assert diagnose(model.eval(), data, teachers, num_triples=100) == first


def test_model_stays_as_it_was_after_an_error(data, teachers, model):
    model.train()
    random = torch.get_rng_state()
    with pytest.raises(ValueError, match=r"'ks'.*\(got 26\)"):
        diagnose(model, data, teachers, k=26)
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)


def test_frozen(found):
    with pytest.raises(FrozenInstanceError):
        found.gradient_share = 0.5


def test_lightning_is_not_loaded_before_it_is_needed():
    module = sys.modules[Diagnosis.__module__]
    origins = [getattr(it, '__module__', '') for it in vars(module).values()]
    assert not [it for it in origins if str(it).startswith('pyg_ckd.train')]


# Text and plot ###############################################################


def test_text(found):
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 80
    first = Counter(line.split('  ')[0].strip() for line in lines)
    for m in NAMES:
        assert first[m] == 4  # progress, weight, bounds and agreement
        assert first[f'only({m})'] == first[f'without({m})'] == 1
    [line] = [line for line in lines if line.startswith('only(text)')]
    expected = [found.recall['only(text)'], found.teacher['text']]
    assert line.split()[1:] == [
        *(f'{value:.4f}' for value in expected),
        f'{found.gap["text"]:+.1%}',
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


def test_missing_teacher(data, teachers, model):
    del teachers['text']
    with pytest.raises(ValueError, match=r'one teacher for each of.*image'):
        diagnose(model, data, teachers)


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
        ({'num_triples': 0}, r"'num_triples' needs to be positive.*\(got 0\)"),
        ({'split': 'train'}, r"'split' needs.*\(got 'train'\)"),
        ({'reference': 'me'}, r"'reference'.*\(got 'me'\)"),
        ({'strength': -1}, r"'strength'.*\(got -1"),
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


def test_type(found):
    assert isinstance(found, Diagnosis)
