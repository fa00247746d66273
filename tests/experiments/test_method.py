import json
from dataclasses import fields

import pytest

from pyg_ckd.experiments import METHODS, Method
from pyg_ckd.experiments.method import BALANCES, OBJECTIVES, TAUGHT


def test_names_for_readers():
    shown = {name: str(method) for name, method in METHODS.items()}
    assert shown == {
        'base': 'base',
        'teachers': 'each modality alone',
        'ckd': 'CKD',
        'ckd-published': 'CKD, published',
        'ckd-gate': 'CKD, gate',
        'ckd-rce-kd': 'CKD, RCE-KD',
        'ckd-rrd': 'CKD, RRD',
        'ckd-dcd': 'CKD, DCD',
        'ckd-band': 'CKD, pairs alike in popularity',
        'ckd-nlgcl': 'CKD, NLGCL',
        'self-distilled': 'CKD, self-distilled',
        'second-generation': 'CKD, self-distilled twice',
        'born-again': 'born again',
        'ensemble-distilled': 'ensemble, distilled',
        'ogm-ge': 'OGM-GE',
        'agm': 'AGM',
        'umt': 'UMT',
        'modality-dropout': 'modality dropout',
        'ensemble': 'ensemble',
        'item-bias': 'base, item bias',
        'nlgcl': 'base, NLGCL',
    }
    made = [
        Method('teacher', modality='text', objective='CosineSoftmax'),
        Method.student('CKD', teachers='LightGCN'),
        Method.student('AGM', objective='Softmax', changes={'AGM': {}}),
        Method.student(
            'CKD',
            changes={'CKD': {'gate': True, 'on_random': {'tau': 0.2}}},
        ),
        Method.student('CKD', teachers='base', generation=3),
        Method.student('UMT', teachers='FREEDOM', taught='full'),
        Method(objective='BPR'),
        Method(name='ours', objective='BPR'),
    ]
    assert [str(method) for method in made] == [
        'text alone, cosine softmax',
        'CKD taught by LightGCN',
        'AGM, softmax, AGM {}',
        'CKD, gate True, tau 0.2',
        'CKD taught by base, generation 3',
        'UMT taught by FREEDOM as a whole',
        'base, BPR',
        'ours',
    ]


@pytest.mark.parametrize('name', METHODS)
def test_plain_values_and_back(name):
    method = METHODS[name]
    values = json.loads(json.dumps(method.to_dict()))
    assert Method(**values) == method
    assert hash(Method(**values)) == hash(method)
    plain = Method()
    for field in fields(Method):  # only what differs is written
        differs = getattr(method, field.name) != getattr(plain, field.name)
        assert (field.name in values) == differs


def test_references():
    base, softmax = Method(), Method(objective='Softmax')
    changed = Method(changes={'model': {'dim': 8}})
    assert base.reference is None
    assert Method(name='another name').reference == base
    assert softmax.reference == base
    assert changed.reference == base
    assert Method('teacher', modality='text').reference is None
    assert METHODS['ckd-gate'].reference == base
    assert METHODS['ensemble'].reference == base
    assert Method.student('CKD', objective='Softmax').reference == softmax
    assert Method('ensemble', objective='Softmax').reference == softmax


def test_same_as_looks_at_all_but_the_name():
    gate = METHODS['ckd-gate']
    assert gate.same_as(Method.student('CKD', changes={'CKD': {'gate': True}}))
    assert not gate.same_as(METHODS['ckd'])


def test_teachers_of_those_that_are_taught():
    assert {b for b in BALANCES if Method.student(b).teachers} == set(TAUGHT)
    assert Method.student('UMT') == Method.student('UMT', teachers='own')


def test_changes_are_a_copy_of_plain_values():
    given = {'model': {'use': ('text',)}}
    method = Method(changes=given)
    given['model']['dim'] = 3
    assert method.changes == {'model': {'use': ['text']}}


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(kind='pupil'), "'kind' needs to be one of .*'pupil'"),
        (dict(taught='all'), "'taught' needs .*'all'"),
        (dict(objective='MSE'), "'objective' needs .*'Softmax'.*'MSE'"),
        (dict(kind='student'), "'balance' needs .*'CKD'.*for the kind"),
        (dict(balance='CKD'), "'balance' needs .*'CKD' for the kind 'base'"),
        (dict(kind='student', balance='SGD'), "'balance' needs .*'SGD'"),
        (dict(teachers='own'), "'teachers' needs to be empty .*'own'"),
        (
            dict(kind='student', balance='AGM', teachers='own'),
            "'teachers' needs to be empty",
        ),
        (dict(modality='text'), "'modality' is that of a teacher"),
        (dict(taught='full'), "'taught' is 'full' .*of one modality"),
        (
            dict(kind='student', balance='CKD', taught='full'),
            r"'taught' is 'full' .*\(got 'own'\)",
        ),
        (
            dict(kind='ensemble', changes={'model': {}}),
            "'changes' needs to be empty .* ensemble",
        ),
        (dict(changes={'a': {1, 2}}), "'changes' needs plain values"),
        (dict(changes=[1]), "'changes' needs to be Mapping"),
        (dict(name=5), r"Method: 'name' needs to be str \(got 5\)"),
        (dict(kind=['base']), "'kind' needs to be str"),
        (dict(kind='teacher', modality=None), "'modality' needs to be str"),
    ],
    ids=str,
)
def test_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Method(**kwargs)


def test_circles_are_refused():
    changes = {}
    changes['model'] = changes
    with pytest.raises(ValueError, match="'changes' needs plain values"):
        Method(changes=changes)


def test_objectives_have_names_of_their_own():
    shown = {str(Method(objective=name)) for name in OBJECTIVES}
    assert len(shown) == len(OBJECTIVES)
