import pytest

from pyg_ckd.analysis import Result, markdown_table, summarize


def run(method: str, seed: int, recall: float, **kwargs: object) -> Result:
    view = method.replace('teacher', 'only', 1) if '(' in method else 'full'
    test = {view: {'recall@20': recall}, 'other': {'recall@20': 9.0}}
    return Result('shop', 'VBPR', method, seed, test=test, **kwargs)


def test_means_and_gains_by_seed():
    rows = summarize(
        [
            run('base', 0, 0.2, seconds=60),
            run('base', 1, 0.4, seconds=120),
            run('ckd', 1, 0.5),
            run('ckd', 0, 0.3),
        ],
        metrics=['recall@20'],
    )
    base, ckd = rows
    assert base['seeds'] == ckd['seeds'] == '2'
    assert base['recall@20'] == '0.3000 ± 0.1414'
    assert base['minutes'] == '1.5'
    assert base['recall@20 against base'] == ''
    # +50 % with seed 0 and +25 % with seed 1, not 0.4 / 0.3:
    assert ckd['recall@20 against base'] == '+37.5 ± 17.7 %'


def test_loss_is_shown_as_a_loss():
    rows = summarize([run('base', 0, 0.4), run('ckd', 0, 0.3)], ['recall@20'])
    assert rows[1]['recall@20 against base'] == '-25.0 %'


def test_no_gain_without_a_base_of_the_same_seed():
    rows = summarize([run('base', 0, 0.2), run('ckd', 1, 0.3)], ['recall@20'])
    assert rows[1]['recall@20 against base'] == ''


@pytest.mark.parametrize('modality', ['text', 'database', 'ckd', 'teacher'])
def test_teacher_is_tested_in_its_view(modality):
    result = run(f'teacher({modality})', 0, 0.2)
    assert result.trained_view == f'only({modality})'
    (row,) = summarize([result], ['recall@20'])
    assert row['recall@20'] == '0.2000'


def test_markdown_table():
    rows = [{'a': '1', 'b': 'x'}, {'a': '2', 'b': ''}]
    assert markdown_table(rows).split('\n') == [
        '| a | b |',
        '| --- | --- |',
        '| 1 | x |',
        '| 2 |  |',
    ]
