import warnings

import pytest

from pyg_ckd.datasets.raw.problems import Problems


def test_problems_raises_the_first():
    problems = Problems('a.csv', 'row', False, below='below the header')
    with pytest.raises(ValueError) as info:
        problems.add(7, 'has no id', "''", "item is '', expected an id")
    assert str(info.value) == (
        "'a.csv', row 7 below the header: item is '', expected an id; correct "
        'it, or pass skip_invalid=True to skip such rows'
    )
    problems = Problems('a.gz', 'line', False, 'download it again')
    with pytest.raises(ValueError) as info:
        problems.add(7, 'is malformed', 'got b"x"')
    assert str(info.value) == (
        '\'a.gz\', line 7: got b"x"; download it again, or pass '
        'skip_invalid=True to skip such lines'
    )


@pytest.mark.parametrize(
    ('found', 'expected'),
    [
        (
            [(3, 'has no id', "''")],
            "1 invalid line skipped: 1 has no id (in line 3: '')",
        ),
        (
            [(9, 'is malformed', 'b'), (3, 'is malformed', 'a')],
            '2 invalid lines skipped: 2 are malformed (the first in line 3: a)',
        ),
        (  # The most frequent first, then in the order of the file.
            [
                (4, 'has no id', 'a'),
                (5, 'repeats an item', 'b'),
                (2, 'is malformed', 'c'),
                (6, 'repeats an item', 'd'),
            ],
            '4 invalid lines skipped: 2 repeat an item (the first in line 5: '
            'b), 1 is malformed (in line 2: c), 1 has no id (in line 4: a)',
        ),
    ],
)
def test_problems_counts_reasons(found, expected):
    problems = Problems('a.gz', 'line', skip=True)
    for problem in found:
        problems.add(*problem)
    assert len(problems) == len(found)
    with pytest.warns(UserWarning) as caught:
        problems.warn(stacklevel=2)
    assert [str(warning.message) for warning in caught] == [
        f"'a.gz': {expected}"
    ]
    assert caught[0].filename == __file__


def test_problems_warns_of_none():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Problems('a.gz', 'line', skip=True).warn()
