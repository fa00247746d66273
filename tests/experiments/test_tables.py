import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyg_ckd.experiments.method import METHODS, Method
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import rows_of, spelled
from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.sound import sound
from pyg_ckd.experiments.statistics import compare, holm
from pyg_ckd.experiments.tables import (
    bases_of,
    best,
    best_bases,
    best_bases_of,
    comparisons,
    current,
    failures,
    summarize,
)

AGAINST = 'recall@20 against base'
AGAINST_BEST = 'recall@20 against best base'
BASE, CKD = METHODS['base'], METHODS['ckd']
MIXED = np.random.default_rng(1).random(100).tolist()


def result(
    method: Method = BASE,
    seed: int = 0,
    recall: float = 0.1,
    backbone: str = 'VBPR',
    dataset: str = 'shop',
    date: str = '',
    **kwargs: object,
) -> Result:
    """A result without metrics of users; keywords are those of a run."""
    run = Run(dataset, backbone, method, seed, **kwargs)
    found = Result(run)
    found.test = {
        found.trained_view: {'recall@20': recall},
        'other': {'recall@20': 9.0},
    }
    if date:
        found.environment = {'date': date}
    return found


def result_users(
    method: Method, seed: int, recall: list[float], **kwargs: object
) -> Result:
    """A result with the metrics of each user."""
    found = result(method, seed, float(np.mean(recall)), **kwargs)
    found.users = {
        'user': torch.arange(len(recall)),
        'recall@20': torch.tensor(recall),
    }
    return found


def times(factor: float) -> list[float]:
    return [factor * value for value in MIXED]


def cut_short(found: Result) -> Result:
    """The same, still getting better when its epochs were used up."""
    settings = {**found.run.settings, 'fit': {'max_epochs': 10}}
    found.run = replace(found.run, settings=settings)
    found.history = [
        {'epoch': epoch, 'val_recall@20': 0.01 * epoch} for epoch in (5, 10)
    ]
    found.epochs = 10
    assert found.cut_short
    return found


# Rows ########################################################################


def test_rows_are_in_the_order_of_kinds_and_seeds():
    text = Method('teacher', modality='text')
    results = [
        result(METHODS['ensemble']),
        result(CKD, 1),
        result(CKD, 0),
        result(text, backbone='GRCN'),
        result(text),
        result(METHODS['ogm-ge']),
        result(BASE, backbone='GRCN'),
        result(BASE),
        result(BASE, dataset='store'),
    ]
    rows = rows_of(results)
    assert list(rows) == [
        ('shop', 'VBPR', 'base'),
        ('shop', 'VBPR', 'text alone'),
        ('shop', 'VBPR', 'CKD'),
        ('shop', 'VBPR', 'OGM-GE'),
        ('shop', 'VBPR', 'ensemble'),
        ('shop', 'GRCN', 'base'),
        ('shop', 'GRCN', 'text alone'),
        ('store', 'VBPR', 'base'),
    ]
    assert [r.run.seed for r in rows['shop', 'VBPR', 'CKD']] == [0, 1]


def test_methods_that_differ_are_never_one_row():
    student = Method.student('OGMGE', name='base')
    runs = [
        result(student, 0, 0.4),
        result(BASE, 0, 0.2),
        result(replace(CKD, changes={'CKD': {'a': 1}}, name='mine'), 0, 0.3),
        result(replace(CKD, changes={'CKD': {'b': 2}}, name='mine'), 0, 0.5),
    ]
    rows = rows_of(runs)
    assert [key[2] for key in rows] == [
        'base',
        'base (kind student, balance OGMGE)',
        'mine (CKD.a 1)',
        'mine (CKD.b 2)',
    ]
    assert [len(own) for own in rows.values()] == [1] * 4
    assert len(summarize(runs)) == 4
    gains = {key[2]: c.reason for key, c in comparisons(runs).items()}
    assert len(gains) == 3
    base = bases_of(runs)
    assert [own[0] for own in base.values()] == [runs[1]] * 3
    # A failure of one is not made good by the other:
    bad = failed(student)
    assert failures([bad, runs[1]]) == [bad]


def test_methods_that_are_the_same_are_one_row():
    runs = [result(CKD, 0), result(replace(CKD, name='CKD'), 1)]
    assert [key[2] for key in rows_of(runs)] == ['CKD']
    runs.append(result(replace(CKD, name='mine'), 1))
    assert [key[2] for key in rows_of(runs)] == ['CKD', 'mine']


def test_spelling_is_unique_whatever_methods_are_called():
    wide = Method(changes={'model': {'dim': 64}}, name='base')
    other = Method(name='base (model.dim 64)')
    text = Method(changes={'model': {'dim': '64'}}, name='base')
    names = spelled([BASE, wide, other, text])
    assert len(set(names.values())) == 4
    assert names[BASE] == 'base'


def test_means_over_seeds():
    runs = [
        result(BASE, 0, 0.2),
        result(BASE, 1, 0.4),
        result(CKD, 1, 0.51),
        result(CKD, 0, 0.29),
    ]
    runs[0].seconds, runs[1].seconds = 60, 120
    base, ckd = summarize(runs, metrics=['recall@20'])
    assert (base['method'], ckd['method']) == ('base', 'CKD')
    assert base['seeds'] == ckd['seeds'] == '2'
    assert base['recall@20'] == '0.3000 ± 0.1414'
    assert base['minutes'] == '1.5'
    assert list(base) == list(ckd)
    for column in (AGAINST, 'p (users)', 'p (seeds)'):
        assert base[column] == ''
    # 0.4 / 0.3, with an interval over two seeds:
    assert ckd[AGAINST].startswith('no significant gain (+33.3 % [')
    assert ckd[AGAINST].endswith('], over seeds only)')


@pytest.mark.parametrize(
    'method',
    [
        CKD,
        METHODS['ogm-ge'],
        METHODS['ensemble'],
        Method.student('CKD', changes={'CKD': {'on_random': False}}),
        Method(changes={'model': {'dim': 8}}, name='mine'),
    ],
)
def test_gain_over_users(method):
    base, gain = [0.1, 0.3] * 50, [0.2, 0.5] * 50
    runs = [result_users(BASE, 0, base), result_users(method, 0, gain)]
    _, row = summarize(runs, ['recall@20'])
    assert row['method'] == str(method)
    assert row[AGAINST].startswith('+75.0 % [+7')
    assert row[AGAINST].endswith('], over users only')
    assert row['p (users)'] == '< 0.001'
    assert row['p (seeds)'] == ''
    runs = [result_users(BASE, 0, gain), result_users(method, 0, base)]
    _, row = summarize(runs, ['recall@20'])
    assert row[AGAINST].startswith('significant loss (-42.9 % [-4')


def test_gain_over_users_and_seeds():
    rng = np.random.default_rng(0)
    runs = []
    for seed in (0, 1, 2):
        base = rng.random(40)
        runs.append(result_users(BASE, seed, base.tolist()))
        gain = base + 0.01 * rng.normal(size=40)
        runs.append(result_users(CKD, seed, gain.tolist()))
    _, row = summarize(runs, ['recall@20'])
    assert row[AGAINST].startswith('no significant ')
    assert 'only' not in row[AGAINST]
    assert 0.01 < float(row['p (users)']) < 1
    assert 0.01 < float(row['p (seeds)']) < 1


def test_without_an_interval_there_is_no_gain():
    runs = [result(BASE, 0, 0.4), result(CKD, 0, 0.3)]
    _, row = summarize(runs, ['recall@20'])
    assert row[AGAINST] == 'not tested'
    assert row['p (users)'] == row['p (seeds)'] == ''


@pytest.mark.parametrize(
    'base',
    [
        [],
        [result(BASE, 1, 0.2)],  # another seed
        [result(BASE, 0, 0.2, backbone='GRCN')],
        [result(BASE, 0, 0.2, dataset='store')],
        [result(Method(objective='Softmax'), 0, 0.2)],
    ],
)
def test_no_gain_without_a_base(base):
    *_, row = summarize([result(CKD, 0, 0.3), *base], ['recall@20'])
    rows = summarize([*base, result(CKD, 0, 0.3)], ['recall@20'])
    (row,) = (row for row in rows if row['method'] == 'CKD')
    assert row[AGAINST] == ''


def test_base_without_a_hit_is_not_tested():
    runs = [result(BASE, 0, 0.0), result(CKD, 0, 0.3)]
    _, row = summarize(runs, ['recall@20'])
    assert row[AGAINST].startswith('not tested: A relative gain needs')


def test_what_was_not_tested_has_no_metrics():
    runs = [Result(Run('shop', 'VBPR', method, 0)) for method in (BASE, CKD)]
    rows = summarize(runs)
    assert [row['recall@20'] for row in rows] == ['', '']
    assert rows[1][AGAINST] == ''


@pytest.mark.parametrize('modality', ['text', 'database', 'ckd', 'teacher'])
def test_teacher_is_tested_in_its_view(modality):
    teacher = result(Method('teacher', modality=modality), 0, 0.2)
    assert teacher.trained_view == f'only({modality})'
    _, row = summarize([result(BASE, 0, 0.1), teacher], ['recall@20'])
    assert row['method'] == f'{modality} alone'
    assert row['recall@20'] == '0.2000'
    assert row[AGAINST] == ''


# Comparisons #################################################################


def test_each_row_is_compared_with_the_base_of_its_objective():
    softmax = Method(objective='Softmax')
    taught = Method.student('CKD', objective='Softmax')
    runs = [
        result_users(Method(name='plain'), 0, times(1.0)),
        result_users(softmax, 0, times(2.0)),
        result_users(taught, 0, times(3.0)),
        result_users(CKD, 0, times(1.2)),
        result_users(METHODS['ensemble'], 0, times(0.5)),
        result_users(BASE, 0, times(7.0), backbone='GRCN'),
    ]
    gains = {key[2]: c.gain for key, c in comparisons(runs).items()}
    assert gains == {
        'base, softmax': pytest.approx(1.0),  # 2 / 1
        'CKD, softmax': pytest.approx(0.5),  # 3 / 2
        'CKD': pytest.approx(0.2),
        'ensemble': pytest.approx(-0.5),
    }


def test_a_base_by_another_name_is_compared_with_the_plain_one():
    runs = [
        result_users(Method(name='other features'), 0, times(2.0)),
        result_users(BASE, 0, times(1.0)),
        result_users(CKD, 0, times(1.5)),
    ]
    gains = {key[2]: c.gain for key, c in comparisons(runs).items()}
    assert gains == {
        'other features': pytest.approx(1.0),
        'CKD': pytest.approx(0.5),
    }


def test_all_comparisons_are_one_family():
    rng = np.random.default_rng(2)
    runs = []
    for i, backbone in enumerate(['VBPR', 'GRCN', 'MGCN', 'BM3']):
        base = rng.random(200)
        more = base + 0.02 * (i + 1) * rng.normal(0.2, 1, 200)
        runs.append(result_users(BASE, 0, base.tolist(), backbone=backbone))
        runs.append(result_users(CKD, 0, more.tolist(), backbone=backbone))
    runs += [result(m, 0, 0.1, 'SMORE') for m in (BASE, CKD)]  # not tested
    found = comparisons(runs)
    tested = [c for c in found.values() if c.tested]
    assert len(found) == 5
    assert len(tested) == 4
    alone = [compare(*([r] for r in runs[2 * i : 2 * i + 2])) for i in range(4)]
    assert [c.p for c in tested] == [c.p for c in alone]
    assert [c.p_adjusted for c in tested] == holm([c.p for c in alone])
    assert {c.family for c in tested} == {4}
    # Some would be a gain alone, and are none among four:
    lost = [
        one.significant and not c.significant
        for one, c in zip(alone, tested, strict=True)
    ]
    assert any(lost)
    row = summarize(runs)[2 * lost.index(True) + 1]
    assert row[AGAINST].startswith('no significant gain (')
    assert 'adjusted p 0.' in row[AGAINST]


def test_no_gain_of_what_was_cut_short():
    runs = [
        result_users(BASE, 0, times(1.0)),
        cut_short(result_users(CKD, 0, times(1.5))),
    ]
    _, row = summarize(runs, ['recall@20'])
    assert row[AGAINST].startswith('cut short, let it train on (+50.0 % [')
    runs[0] = cut_short(runs[0])
    runs[1] = result_users(CKD, 0, times(1.5))
    _, row = summarize(runs, ['recall@20'])
    assert row[AGAINST].startswith('cut short')


def test_other_data_or_users_are_said_and_no_error():
    base = result_users(BASE, 0, times(1.0), data='aa')
    other = result_users(CKD, 0, times(2.0), data='bb')
    _, row = summarize([base, other], ['recall@20'])
    assert row[AGAINST].startswith('not tested: ')
    assert 'different data (aa and bb)' in row[AGAINST]
    fewer = result_users(CKD, 0, times(2.0)[:50], data='aa')
    _, row = summarize([base, fewer], ['recall@20'])
    assert 'was tested on other users' in row[AGAINST]


def test_other_versions_are_said():
    base = result_users(BASE, 0, times(1.0), version='0.1.0')
    ckd = result_users(CKD, 0, times(2.0), version='0.2.0')
    _, row = summarize([base, ckd], ['recall@20'])
    assert row[AGAINST].startswith('not comparable (+100.0 % [')
    assert row[AGAINST].endswith('versions 0.1.0 and 0.2.0 of the library')


def test_the_base_has_the_settings_of_the_student():
    old = [result(BASE, s, 0.1 + 0.01 * s, **settings(1)) for s in range(3)]
    new = [result(BASE, s, 0.3 + 0.01 * s, **settings(2)) for s in range(2)]
    ckd = [result(CKD, s, 0.3 + 0.011 * s, **settings(2)) for s in range(2)]
    ogm = [
        result(METHODS['ogm-ge'], s, 0.1 + 0.02 * s, **settings(1))
        for s in range(3)
    ]
    runs = [*old, *new, *ckd, *ogm]
    of_ckd, of_ogm = bases_of(runs).values()
    assert (of_ckd, of_ogm) == (new, old)
    against, _ = comparisons(runs).values()
    assert against.gain == pytest.approx(0.3055 / 0.305 - 1)
    said = 'against a base that is not the one of the table'
    assert against.verdict.endswith(said)
    rows = summarize(runs, ['recall@20'])
    assert [row['seeds'] for row in rows] == ['3', '2', '3']
    assert rows[1][AGAINST] == against.verdict
    assert said not in rows[2][AGAINST]


def test_nothing_is_claimed_where_settings_differ():
    base = result_users(BASE, 0, times(1.0), **settings(1))
    ckd = result_users(CKD, 0, times(2.0), **settings(2))
    (found,) = comparisons([base, ckd]).values()
    assert (found.outcome, found.significant) == ('not comparable', False)
    assert found.verdict.startswith('not comparable (+100.0 % [')
    assert found.verdict.endswith('); other settings of train')
    meant = Method(changes={'train': {'lr': 2}}, name='fast')
    fast = result_users(meant, 0, times(2.0), **settings(2))
    (found,) = comparisons([base, fast]).values()
    assert found.outcome == 'gain'


def test_teachers_that_were_cut_short_are_said():
    text = Method('teacher', modality='text')
    for method in (CKD, METHODS['ensemble']):
        teacher = cut_short(result(text))
        base = result_users(BASE, 0, times(1.0))
        other = result_users(method, 0, times(2.0), teachers=(teacher.run.key,))
        (found,) = comparisons([teacher, base, other]).values()
        assert found.caveats == ('its teachers were cut short',)
        teacher.history = teacher.history[:1]
        teacher.run = replace(teacher.run, settings={})


def test_comparisons_can_be_passed_on(monkeypatch):
    runs = [result_users(BASE, 0, times(1.0)), result_users(CKD, 0, times(2))]
    against = comparisons(runs)
    expected = summarize(runs)

    def never(*_: object) -> None:
        raise AssertionError('resampled twice')

    monkeypatch.setattr('pyg_ckd.experiments.tables.compare', never)
    assert summarize(runs, against=against) == expected
    assert summarize(runs, against={})[1][AGAINST] == ''


# Against the best base #######################################################

SOFTMAX = Method(objective='Softmax')
SOFT_CKD = Method.student('CKD', objective='Softmax')


def validated(
    method: Method, val: float, factor: float, seed: int = 0, **kwargs: object
) -> Result:
    """A result with metrics of users and Recall@20 on validation."""
    found = result_users(method, seed, times(factor), **kwargs)
    found.val = {'recall@20': val}
    return found


def two_objectives() -> list[Result]:
    """The best base by validation is not the best on test."""
    return [
        validated(BASE, 0.1, 3.0),
        validated(SOFTMAX, 0.2, 2.0),
        validated(Method('teacher', modality='text'), 0.9, 9.0),
        validated(CKD, 0.3, 1.0),
        validated(SOFT_CKD, 0.3, 4.0),
        validated(METHODS['ensemble'], 0.3, 6.0),
        validated(BASE, 0.9, 1.0, backbone='GRCN'),
        validated(CKD, 0.9, 2.0, backbone='GRCN'),
    ]


def test_all_rows_are_compared_with_the_best_base():
    runs = two_objectives()
    softmax = 'shop', 'VBPR', 'base, softmax'
    assert list(best_bases(rows_of(runs)).values()) == [softmax]
    bases = best_bases_of(runs)
    assert all(base == [runs[1]] for base in bases.values())
    found = comparisons(runs, bases=bases)
    assert {key[1:]: c.gain for key, c in found.items()} == {
        ('VBPR', 'base'): pytest.approx(0.5),
        ('VBPR', 'CKD'): pytest.approx(-0.5),
        ('VBPR', 'CKD, softmax'): pytest.approx(1.0),
        ('VBPR', 'ensemble'): pytest.approx(2.0),
    }
    # It is a family of its own:
    assert {c.family for c in found.values()} == {4}
    assert {c.family for c in comparisons(runs).values()} == {5}
    adjusted = holm([c.p for c in found.values()])
    assert [c.p_adjusted for c in found.values()] == adjusted

    rows = {row['method']: row for row in summarize(runs[:6])}
    assert rows['base, softmax'][AGAINST_BEST] == 'best base'
    assert rows['text alone'][AGAINST_BEST] == ''
    for method in ('base', 'CKD', 'CKD, softmax', 'ensemble'):
        verdict = found['shop', 'VBPR', method].verdict
        assert rows[method][AGAINST_BEST] == verdict
    assert [row[AGAINST_BEST] for row in summarize(runs)[6:]] == ['', '']
    assert summarize(runs, against_best={})[0][AGAINST_BEST] == ''


def test_a_single_base_is_compared_with_in_one_column():
    runs = two_objectives()[6:]
    assert best_bases_of(runs) == {}
    assert all(AGAINST_BEST not in row for row in summarize(runs))


def test_validation_of_common_seeds_chooses_the_best_base():
    wide = Method(changes={'model': {'dim': 64}}, name='wide')
    runs = [
        validated(BASE, 0.2, 1.0, 0),
        validated(BASE, 0.3, 1.0, 1),
        validated(BASE, 0.9, 1.0, 2),  # a seed that the other lacks
        validated(wide, 0.2, 1.0, 0),
        validated(wide, 0.4, 1.0, 1),
    ]

    def chosen() -> list[str]:
        return [key[2] for key in best_bases(rows_of(runs)).values()]

    assert chosen() == ['wide']
    runs[1].val = {'recall@20': 0.4}
    assert chosen() == ['base']  # of equal ones the first
    runs[3].val = runs[4].val = {}
    assert chosen() == []
    other = validated(SOFTMAX, 0.1, 1.0, 7)
    runs.append(other)
    assert chosen() == []  # no seed is in common
    # Those with other data, such as standardised features, do not compete:
    runs[-1] = validated(SOFTMAX, 0.9, 1.0, 0, data='bb')
    assert chosen() == []


def test_what_cannot_be_read_is_no_other_base():
    runs = two_objectives()
    runs[1].seconds = math.inf
    found = comparisons(runs, bases=best_bases_of(runs))
    assert all(comparison.caveats == () for comparison in found.values())


# Beyond accuracy, and cost ###################################################


def test_tail_and_coverage_are_shown_where_they_are_known():
    old, new = result(BASE), result(CKD)
    new.tested.update({'tail_recall@20': 0.25, 'coverage@20': 0.5})
    again = result(CKD, 1)
    again.tested.update({'tail_recall@20': 0.35, 'coverage@20': 0.5})
    first, second = summarize([old, new, again])
    assert (first['tail'], first['coverage']) == ('', '')
    assert second['tail'] == '0.3000 ± 0.0707'
    assert second['coverage'] == '0.5000 ± 0.0000'
    assert 'tail' in str(summarize([old, new]))
    assert 'tail' not in str(summarize([old]))


def test_minutes_with_teachers():
    def timed(seconds: int, *args: object, **kwargs: object) -> Result:
        found = result(*args, **kwargs)
        found.seconds = seconds
        return found

    runs, text = [], Method('teacher', modality='text')
    for seed in (0, 1):
        teacher = timed(60, text, seed)
        image = timed(120, Method('teacher', modality='image'), seed)
        own = (teacher.run.key, image.run.key)
        ckd = timed(600, CKD, seed, teachers=own)
        # One that learns from a student and, once more, from its teacher:
        again = (ckd.run.key, teacher.run.key)
        born = METHODS['born-again']
        born_again = timed(60 * seed, born, seed, teachers=again)
        ensemble = timed(0, METHODS['ensemble'], seed, teachers=own)
        runs += [timed(6, BASE, seed), teacher, image, ckd]
        runs += [born_again, ensemble]

    def shown(results: list[Result]) -> dict[str, tuple[str, str]]:
        return {
            row['method']: (row['minutes'], row['with teachers'])
            for row in summarize(results)
        }

    assert shown(runs) == {
        'base': ('0.1', ''),
        'image alone': ('2.0', ''),
        'text alone': ('1.0', ''),
        'CKD': ('10.0', '13.0'),
        'born again': ('0.5', '13.5'),
        'ensemble': ('0.0', '3.0'),
    }
    # Where a teacher of one seed is missing, nothing is known:
    lacking = [r for r in runs if (r.run.method, r.run.seed) != (text, 1)]
    found = shown(lacking)
    assert {pair[1] for pair in found.values()} == {''}
    assert found['CKD'][0] == '10.0'


# The best ####################################################################


def keys(found: dict[str, set], metric: str = 'recall@20') -> set[str]:
    return {f'{backbone} {method}' for _, backbone, method in found[metric]}


def test_best_of_each_column_and_data_set():
    runs = [
        result(BASE, 0, 0.2),
        result(CKD, 0, 0.3),
        result(CKD, 1, 0.5),  # 0.4 in the mean
        result(BASE, 0, 0.39, backbone='GRCN'),
        result(BASE, 0, 0.1, dataset='store'),
        result(CKD, 0, 0.2, dataset='store'),
    ]
    runs[0].test['full']['ndcg@20'] = 0.1
    found = best(runs, ['recall@20', 'ndcg@20', 'map@20'])
    assert found['recall@20'] == {
        ('shop', 'VBPR', 'CKD'),
        ('store', 'VBPR', 'CKD'),
    }
    assert found['ndcg@20'] == {('shop', 'VBPR', 'base')}
    assert found['map@20'] == set()


def test_what_reads_the_same_is_equally_good():
    runs = [result(BASE, 0, 0.12341), result(CKD, 0, 0.12338)]
    assert keys(best(runs)) == {'VBPR base', 'VBPR CKD'}


def test_what_was_cut_short_is_not_the_best():
    runs = [result(BASE, 0, 0.2), cut_short(result(CKD, 0, 0.3))]
    assert keys(best(runs)) == {'VBPR base'}


def test_a_single_row_is_not_the_best():
    assert keys(best([result(BASE, 0, 0.2)])) == set()


# Versions ####################################################################


def settings(lr: float) -> dict[str, object]:
    return {'settings': {'train': {'lr': lr}}}


def shown(results: list[Result]) -> list[tuple[int, float]]:
    kept, _ = current(results)
    return [(r.run.seed, r.tested['recall@20']) for r in kept]


def test_one_version_is_kept_as_it_is():
    results = [result(m, s) for m in (BASE, CKD) for s in (1, 0)]
    assert current(results) == (results, [])
    assert current([]) == ([], [])


@pytest.mark.parametrize(
    'change',
    [
        settings(1.0),
        {'data': 'bb'},
        {'version': '0.0.1'},
        {'teachers': ('other',)},
    ],
)
def test_the_latest_complete_version_is_shown(change):
    old = [result(CKD, s, 0.1, **settings(0.1)) for s in (0, 1)]
    new = [
        result(
            **{'method': CKD, 'recall': 0.2, **settings(0.1), **change}, seed=s
        )
        for s in (0, 1)
    ]
    kept, notes = current([*old, *new])
    assert kept == new
    assert notes[:1] == [
        '2 older runs are left out, of other settings, data or versions: '
        'VBPR CKD (2).'
    ]
    # A version with fewer seeds is not complete:
    kept, notes = current([*old, new[0]])
    assert kept == old
    assert notes == [
        '1 newer run is left out, of versions with fewer seeds: VBPR CKD (1).'
    ]
    rows = summarize([*old, *new], ['recall@20'])
    assert [row['recall@20'] for row in rows] == ['0.2000 ± 0.0000']


def test_the_order_of_writing_counts_and_no_clock():
    late = result(CKD, 0, 0.1, date='2030-01-01T10:00:00+00:00', **settings(1))
    early = result(CKD, 0, 0.2, date='2026-01-01T10:00:00Z', **settings(2))
    undated = result(CKD, 0, 0.3, date='yesterday', **settings(3))
    assert shown([late, early]) == [(0, 0.2)]
    assert shown([early, late]) == [(0, 0.1)]
    assert shown([late, early, undated]) == [(0, 0.3)]
    bad = failed(CKD, 0, date='2020-01-01', **settings(9))
    assert failures([late, bad]) == [bad]
    assert failures([bad, early]) == []


def test_unknown_teachers_are_noted():
    first = result(CKD, 0, 0.1, teachers=('aa',))
    second = result(CKD, 1, 0.2, teachers=('bb',))
    kept, notes = current([first, second])
    assert kept == [first, second]
    assert notes == [
        'Teachers are not among the results, and may have had other settings '
        'for each seed: VBPR CKD.'
    ]
    assert current([first]) == ([first], [])


def test_versions_are_not_mixed_over_seeds():
    old = [result(CKD, s, 0.1, **settings(1)) for s in (0, 1, 2)]
    new = [result(CKD, s, 0.2, **settings(2)) for s in (3, 4, 5)]
    assert shown([old[0], new[0], old[1], new[1], new[2], old[2]]) == [
        (0, 0.1),
        (1, 0.1),
        (2, 0.1),
    ]


def test_students_of_other_teachers_are_another_version():
    def taught(lr: float, seed: int, recall: float) -> list[Result]:
        text = Method('teacher', modality='text')
        teacher = result(text, seed, 0.05, **settings(lr))
        teachers = (teacher.run.key,)
        return [teacher, result(CKD, seed, recall, teachers=teachers)]

    # The seed changes the key of a teacher, and makes no other version:
    alike = taught(1, 0, 0.1) + taught(1, 1, 0.2)
    assert current(alike) == (alike, [])
    # Another rate of the teacher does:
    mixed = taught(1, 0, 0.1) + taught(1, 1, 0.2) + taught(2, 1, 0.9)
    kept, notes = current(mixed)
    assert kept == alike
    assert 'VBPR CKD (1)' in notes[0]


def test_the_same_run_twice_counts_once():
    first, again = result(CKD, 0, 0.1), result(CKD, 0, 0.2)
    assert shown([first, again]) == [(0, 0.2)]
    assert shown([first, first]) == [(0, 0.1)]
    assert '1 older run is' in current([first, again])[1][0]


def test_notes_name_few_rows():
    results = [
        result(BASE, 0, 0.1, f'model{i}', **settings(lr))
        for lr in (1, 2)
        for i in range(9)
    ]
    _, (note,) = current(results)
    assert note.startswith('9 older runs are left out')
    assert note.endswith('model5 base (1), and 3 rows more.')


# Failures ####################################################################


def failed(method: Method = BASE, seed: int = 0, **kwargs: object) -> Result:
    found = result(method, seed, **kwargs)
    found.test, found.error = {}, 'RuntimeError: the loss is not finite'
    return found


def test_failed_runs_count_for_nothing():
    base = [result_users(BASE, s, times(1.0)) for s in (0, 1)]
    runs = [*base, result_users(CKD, 0, times(2.0)), failed(CKD, 1)]
    runs += [failed(METHODS['umt'], 0)]
    assert current(runs)[0] == runs[:3]
    assert failures(runs) == runs[3:]
    rows = summarize(runs, ['recall@20'])
    assert [(row['method'], row['seeds']) for row in rows] == [
        ('base', '2'),
        ('CKD', '1'),
    ]
    ((_, comparison),) = comparisons(runs).items()
    assert comparison.num_seeds == 1


def test_what_was_made_good_is_no_failure():
    bad = failed(CKD, 0, date='2025-01-02')
    assert failures([bad, result(CKD, 0, date='2025-01-03')]) == []
    assert failures([result(CKD, 0, date='2025-01-01'), bad]) == [bad]
    assert failures([bad, result(CKD, 1, date='2025-01-03')]) == [bad]
    assert failures([bad, result(BASE, 0, date='2025-01-03')]) == [bad]
    # Without dates, the later line counts:
    bad = failed(CKD, 0)
    assert failures([bad, result(CKD, 0)]) == []
    assert failures([result(CKD, 0), bad]) == [bad]


# What cannot be read #########################################################


@pytest.mark.parametrize(
    'odd',
    [
        {'test': {'full': {'recall@20': math.nan}}},
        {'test': {'full': {'recall@20': math.inf}}},
        {'test': {'full': {'recall@20': 1e308}}},
        {'seconds': math.inf},
        {'history': [{'epoch': math.nan, 'val_recall@20': 0.1}]},
        {'history': [{'epoch': math.inf, 'val_recall@20': 0.1}]},
        {'knocked_out': {'base': {'recall@20': 0.3}}},
        {'knocked_out': {'base': {'recall@20': 0.3}, 'rows': None}},
        {'knocked_out': {'base': None}},
        {'environment': {'peak_memory_mb': 'x'}},
        {'users': {'recall@20': torch.rand(4)}},
        {'hits': {'hit@20': torch.rand(4)}},
        {'error': '\udcff'},
    ],
)
def test_what_cannot_be_read_is_left_out_and_said(odd):
    (name,) = odd
    good = result(CKD, 1)
    bad = replace(result(CKD, 0), **odd)
    (one, two), notes = sound([bad, good])
    assert two is good
    assert notes == [f'What cannot be read is left out: VBPR CKD 0 ({name}).']
    changed = [n for n in vars(bad) if vars(one)[n] != vars(bad)[n]]
    assert changed == [name]
    # What was made sound is sound:
    (again,), none = sound([one])
    assert again is one
    assert none == []
    summarize([bad, good])
    assert name == 'error' or current([bad, good])[1] == notes


def test_limits_and_names_that_cannot_be_read():
    run = Run('shop', 'a\udcff', CKD, 0, {'fit': {'patience': 'x'}})
    history = [{'epoch': 1, 'val_recall@20': 0.1}]
    (one,), (note,) = sound([Result(run, history=history)])
    assert one.run.backbone == 'a\\udcff'
    assert one.run.settings == {}
    assert note.endswith('CKD 0 (run).')
    note.encode()


def test_what_is_switched_off_is_no_comparison():
    on, off = (
        {'balance': {'name': 'CKD', 'strength': strength}}
        for strength in (0.1, 0)
    )
    runs = [
        result_users(BASE, 0, MIXED),
        result_users(CKD, 0, MIXED, settings=off),
        result_users(METHODS['ckd-gate'], 0, times(1.5), settings=on),
    ]
    found = comparisons(runs)
    assert found['shop', 'VBPR', 'CKD'].outcome == 'not tested'
    (row,) = (row for row in summarize(runs) if row['method'] == 'CKD')
    assert 'switched off, so that it is the base' in row[AGAINST]
    assert found['shop', 'VBPR', 'CKD, gate'].family == 1


def test_what_knock_out_returns_is_sound():
    run = result()
    row = {'recall@20': 0.1}
    run.knocked_out = {
        'split': 'test',
        'base': row,
        'rows': {'text': {'noise': row}},
        'depends': {'text': True},
        'verdict': {'text': 'used'},
    }
    kept, notes = current([run])
    assert kept[0].knocked_out == run.knocked_out
    assert notes == []
