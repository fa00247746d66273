import pytest

from pyg_ckd.datasets.raw.spelling import likely_spelling, nfc


@pytest.mark.parametrize(
    ('name', 'known', 'how'),
    [
        ('SKU-1', 'sku-1', 'in another letter case'),
        ('007', '7', 'with other leading zeros'),
        ('7', '007', 'with other leading zeros'),
        ('000', '0', 'with other leading zeros'),
        (' cup', 'cup', 'with other blanks around'),
        ('cup', 'cup\t', 'with other blanks around'),
        ('7.0', '7', "with or without '.0' at the end"),
        ('7', '7.0', "with or without '.0' at the end"),
        ('cafe\u0301', 'caf\u00e9', 'in another form of Unicode'),
    ],
)
def test_likely_spelling(name, known, how):
    expected = f'1 of them would be found {how}, such as {known!r}'
    assert likely_spelling([name, 'other'], [known, 'pot']) == expected


def test_likely_spelling_takes_what_explains_most():
    names, known = ['A', 'B', '01', '02', '03'], ['a', 'b', '1', '2', '3']
    assert likely_spelling(names, known).startswith(
        '3 of them would be found w'
    )
    assert likely_spelling(names[:3], known).startswith(
        '2 of them would be fou'
    )


@pytest.mark.parametrize(
    ('names', 'known'),
    [
        ([], ['a']),
        (['a'], []),
        (['a'], ['b']),
        ([''], ['0']),
        (['a1'], ['a01']),
    ],
)
def test_likely_spelling_of_others(names, known):
    assert likely_spelling(names, known) == ''


def test_nfc():
    assert nfc('cafe\u0301') == nfc('caf\u00e9') == 'caf\u00e9'
