import pytest

from pyg_ckd.balance import failure_signs

LEVEL = {'only(image)': 0.05, 'only(text)': 0.07}
HEALTHY = {
    'val_recall@20/only(image)': 0.04,
    'val_recall@20/only(text)': 0.06,
    'spread_image': 0.4,
    'spread_text': 0.4,
    'gradient_share': 0.3,
}


def test_healthy():
    assert failure_signs(HEALTHY, LEVEL) == {}


@pytest.mark.parametrize(
    ('change', 'name', 'measured'),
    [
        (
            {'val_recall@20/only(image)': 0.05},
            'teacher of only(image)',
            '0.0500',
        ),
        ({'val_recall@20/only(text)': 0.08}, 'teacher of only(text)', '0.0800'),
        ({'spread_image': 0.0, 'spread_text': 0.01}, 'effects', '0.0100'),
        ({'gradient_share': 0.95}, 'gradient', '95%'),
    ],
)
def test_signs(change, name, measured):
    signs = failure_signs({**HEALTHY, **change}, LEVEL)
    assert list(signs) == [name]
    assert measured in signs[name]


def test_one_modality_that_differs_is_enough():
    assert failure_signs({**HEALTHY, 'spread_text': 0.0}, LEVEL) == {}


def test_weights_that_are_not_used_are_no_sign():
    entry = {key: HEALTHY[key] for key in HEALTHY if 'spread' not in key}
    assert failure_signs(entry, LEVEL) == {}


def test_gradient_that_is_not_known_is_no_sign():
    entry = {key: HEALTHY[key] for key in HEALTHY if 'gradient' not in key}
    assert failure_signs(entry, LEVEL) == {}


def test_what_teaches_the_full_view():
    entry = {**HEALTHY, 'val_recall@20/full': 0.09}
    assert failure_signs(entry, {'full': 0.1}) == {}
    (sign,) = failure_signs(entry, {'full': 0.08}).values()
    assert 'CKD(gate=True)' in sign
