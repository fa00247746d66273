"""Who teaches whom: further generations, baselines, and data of their own."""

import itertools

import pytest
import torch

from pyg_ckd.balance import Teacher
from pyg_ckd.experiments import (
    BACKBONES,
    METHODS,
    Experiment,
    Method,
    Settings,
    Store,
)
from pyg_ckd.graph import modalities
from pyg_ckd.nn import Popularity
from pyg_ckd.testing import fake_graph
from pyg_ckd.transforms import FeaturePCA
from pyg_ckd.views import full, only

SMALL = {
    'model': {'dim': 4},
    'train': {'lr': 0.01},
    'fit': {'max_epochs': 2, 'eval_every': 1},
    'CKD': {'strength': 1.0},
}


@pytest.fixture
def experiment(tmp_path):
    """An experiment on a small shop."""

    def open_shop(transform):
        data = fake_graph(num_users=40, num_items=30)
        return data if transform is None else transform(data)

    settings = Settings({'default': {'VBPR': SMALL, 'LightGCN': SMALL}})
    return Experiment(
        'shop', open_shop, settings, Store(tmp_path), device='cpu'
    )


def test_generations(experiment):
    third = Method.student('CKD', teachers='base', generation=3)
    runs = experiment.plan(['VBPR'], [third], seeds=[0])
    assert [str(run.method) for run in runs] == [
        'base',
        'CKD, self-distilled',
        'CKD, self-distilled twice',
        'CKD taught by base, generation 3',
    ]
    assert [len(run.teachers) for run in runs] == [0, 1, 1, 1]
    for one, other in itertools.pairwise(runs):
        assert other.teachers == (one.key,)
    experiment.run(runs)
    for one, other in itertools.pairwise(runs):
        student = Teacher.load(experiment.store.embeddings(one.key))
        for teacher in experiment.teachers(other).values():
            assert torch.equal(teacher.user, student.user)
    levels = [experiment.store.get(run.key).val['recall@20'] for run in runs]
    assert len(levels) == 4


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'generation': 0}, r"'generation' .*\(got 0 "),
        ({'generation': 2}, r"'generation' .*\(got 2 with 'own'\)"),
        ({'generation': 2, 'teachers': 'VBPR'}, "with 'VBPR'"),
        ({'generation': 'two'}, "'generation' needs to be int"),
    ],
)
def test_generations_that_are_none(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Method.student('CKD', **kwargs)


def test_a_baseline_teaches_each_modality(experiment):
    """What popularity alone is worth as a teacher can be asked for."""
    taught = Method.student('CKD', teachers='Popularity')
    *others, run = experiment.plan(['VBPR'], [taught], seeds=[0])
    assert [str(each) for each in others] == [
        'VBPR image alone 0',
        'VBPR text alone 0',
        'Popularity base 0',
    ]
    experiment.run([*others, run])
    data = experiment.data()
    plain = Teacher.from_model(Popularity.from_data(data), data)
    own = Method.student('CKD')
    own_run = experiment.planned('VBPR', own, 0)
    spreads = experiment.teachers(own_run)
    for modality in ('image', 'text'):
        keep = only(modality)
        teacher = experiment.teachers(run)[keep]
        assert teacher.spread == pytest.approx(spreads[keep].spread, rel=1e-5)
        ranks = [
            (each.user @ each.item.t()).argsort(descending=True, stable=True)
            for each in (teacher, plain)
        ]
        assert torch.equal(*ranks)


@pytest.mark.parametrize('teachers', ['ensemble', 'LightGCN', 'Popularity'])
def test_others_teach_the_full_view(experiment, teachers):
    """An ensemble, distilled into one model, costs no more to serve."""
    method = Method.student('CKD', teachers=teachers, taught='full')
    *others, run = experiment.plan(['VBPR'], [method], seeds=[0])
    own, other = 'VBPR base 0', f'{teachers} base 0'
    if teachers == 'ensemble':
        own, other = 'VBPR image alone 0', 'VBPR text alone 0'
    assert [str(each) for each in others] == [own, other]
    (result,) = experiment.run([*others, run])[2:]
    assert result.error == ''
    assert 'generic_full' in result.history[0]
    ((keep, taught),) = experiment.teachers(run).items()
    assert keep == full(['image', 'text'])
    known = [
        Teacher.load(experiment.store.embeddings(each.key)) for each in others
    ]
    if teachers == 'ensemble':
        size = sum(teacher.spread for teacher in known) / 2
        scores = sum(t.user @ t.item.t() / t.spread for t in known)
    else:
        size = known[0].spread
        scores = known[1].user @ known[1].item.t()
    assert taught.spread == pytest.approx(size, rel=1e-4)
    found = taught.user @ taught.item.t()
    factor = found.std() / scores.std()
    torch.testing.assert_close(found, factor * scores, rtol=1e-3, atol=1e-3)


def test_standardized_features(experiment):
    """Teachers and students of one setting see the same data."""
    changed = experiment.settings.changed(
        'shop', 'VBPR', {'extra': {'standardize': True}}
    )
    experiment.settings = changed
    runs = experiment.plan(['VBPR'], [METHODS['ckd']], seeds=[0])
    x = experiment.data(runs[0])['item'].x_text
    torch.testing.assert_close(
        x.mean(0), torch.zeros(x.size(1)), atol=1e-5, rtol=0
    )
    assert not torch.equal(x, experiment.data()['item'].x_text)
    assert not any(result.error for result in experiment.run(runs))


def test_principal_components(experiment):
    """Features are few, and graphs of items are made from them."""
    experiment.settings = experiment.settings.changed(
        'shop', 'VBPR', {'extra': {'components': 3}}
    )
    runs = experiment.plan(['VBPR'], [METHODS['ckd']], seeds=[0])
    found = experiment.data(runs[0])
    expected = FeaturePCA(3)(experiment.data())
    for modality in modalities(found):
        name = f'x_{modality}'
        assert torch.equal(found['item'][name], expected['item'][name])
    assert not any(result.error for result in experiment.run(runs))


def test_components_that_do_not_suit(experiment):
    experiment.settings = experiment.settings.changed(
        'shop', 'VBPR', {'extra': {'components': 30}}
    )
    (run,) = experiment.plan(['VBPR'], [METHODS['base']], seeds=[0])
    (result,) = experiment.run([run])
    assert "'components' of [shop.VBPR.extra] do not suit" in result.error
    negative = experiment.settings.changed(
        'shop', 'VBPR', {'extra': {'components': -1}}
    )
    experiment.settings = negative
    with pytest.raises(ValueError, match=r"'components' .* at least 0.*-1"):
        experiment.plan(['VBPR'], [METHODS['base']], seeds=[0])


@pytest.mark.parametrize('extra', [{'components': 2}, {'standardize': True}])
def test_features_that_are_not_changed(experiment, extra):
    """Settings that have no effect are no result."""
    data = experiment.open(None)
    experiment.open = lambda transform: data
    experiment.settings = experiment.settings.changed(
        'shop', 'VBPR', {'extra': extra}
    )
    (result,) = experiment.run(
        experiment.plan(['VBPR'], [METHODS['base']], seeds=[0])
    )
    assert "'open' did not apply the transform" in result.error


def test_features_that_a_change_leaves_alone(experiment):
    """Standardised ones may be exactly what they were."""
    data = fake_graph(num_users=40, num_items=30)
    for m in modalities(data):
        data['item'][f'x_{m}'] = torch.tensor([[-1.0], [1.0]]).repeat(15, 1)
    experiment.open = lambda transform: transform(data) if transform else data
    experiment.settings = experiment.settings.changed(
        'shop', 'VBPR', {'extra': {'standardize': True}}
    )
    (result,) = experiment.run(
        experiment.plan(['VBPR'], [METHODS['base']], seeds=[0])
    )
    assert result.error == ''


def test_teachers_with_other_features(experiment):
    """A baseline as it is teaches a backbone on standardised features."""
    experiment.settings = experiment.settings.changed(
        'shop', 'VBPR', {'extra': {'standardize': True}}
    )
    for teacher in ('Popularity', 'LightGCN'):
        taught = Method.student('CKD', teachers=teacher)
        results = experiment.run(experiment.plan(['VBPR'], [taught], [0]))
        assert [result.error for result in results] == [''] * len(results)


def test_what_is_put_around_a_backbone(experiment):
    methods = [METHODS[name] for name in ('base', 'item-bias', 'nlgcl')]
    results = experiment.run(experiment.plan(['VBPR'], methods, seeds=[0]))
    assert [result.error for result in results] == ['', '', '']
    keys = [result.run.key for result in results]
    widths = [
        Teacher.load(experiment.store.embeddings(key)).user.size(1)
        for key in keys
    ]
    assert widths[1] == widths[0] + 1  # the bias
    assert len({result.history[-1]['loss'] for result in results}) == 3


@pytest.mark.parametrize(
    'name',
    [
        'ckd-published',
        'ckd-rce-kd',
        'ckd-rrd',
        'ckd-dcd',
        'ckd-band',
        'ckd-nlgcl',
    ],
)
def test_named_variants_train(experiment, name):
    runs = experiment.plan(['LightGCN'], [METHODS[name]], seeds=[0])
    results = experiment.run(runs)
    assert [result.error for result in results] == [''] * 3
    assert 'generic_text' in results[-1].history[0]
    assert 'LightGCN' in BACKBONES
