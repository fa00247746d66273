import io
import os
import resource
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_ckd.datasets.features.encode import (
    encode,
    fill_missing,
    fill_template,
    template_fields,
)
from pyg_ckd.datasets.features.lazy import Lazy


class Lengths:
    """Tells the length of each text, and remembers what it was asked."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.batches: list[list[str]] = []

    def __call__(self, texts: list[str]) -> Tensor:
        self.batches.append(list(texts))
        x = torch.tensor([[len(text), 1.0] for text in texts])
        return self.factor * x

    def __repr__(self) -> str:
        return f'Lengths({self.factor})'


class Returns:
    """Returns the results of a function, whatever they are."""

    def __init__(self, function: Callable[[list[str]], object]) -> None:
        self.function = function

    def __call__(self, texts: list[str]) -> object:
        return self.function(texts)

    def __repr__(self) -> str:
        return 'Returns()'


def run(
    encoder: object, texts: list[str], cache: Path, chunk: int = 256
) -> Tensor:
    keys = [text.encode() for text in texts]
    return encode(encoder, texts, keys, 'text', str(cache), chunk)


def features(cache: Path) -> list[str]:
    """Return the shards of features, and whatever is left half-way."""
    return sorted(
        str(path.relative_to(cache))
        for path in cache.rglob('*')
        if path.is_file() and path.suffix != '.lock'
    )


# Templates ###################################################################


@pytest.mark.parametrize(
    ('template', 'expected'),
    [
        ('{a}', 'one'),
        ('{a} {b}', 'one two words'),
        ('{a}{a}{b}', 'oneone two words'),
        ('{a}, {missing}!', 'one, !'),
        ('{empty}{missing}', ''),
        ('by {empty} and {blank}', ''),
        ('{{{a}}} {{a}}', '{one} {a}'),
        ('{braces} {a}', '{a} {0} one'),
        (' \n{a}\t \t{a} ', 'one one'),
        ('{Two Words}/{a.b}/{0}', 'A/B/C'),
    ],
)
def test_fill_template(template, expected):
    record = {
        'a': 'one',
        'b': '  two \n words ',
        'empty': '',
        'blank': ' \n',
        'braces': '{a} {0}',
        'Two Words': 'A',
        'a.b': 'B',
        '0': 'C',
    }
    assert fill_template(template, record) == expected


NAMES = st.text(st.characters(exclude_characters='{}[]!:'), min_size=1)
VALUES = st.text(st.characters(exclude_characters='{}'))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(VALUES, NAMES), min_size=1),
    st.dictionaries(NAMES, st.text()),
    st.data(),
)
def test_fill_template_is_a_concatenation(parts, record, data):
    if record:
        names = st.sampled_from([*record])
        parts = [(text, data.draw(names)) for text, _ in parts]
    template = ''.join(f'{text}{{{name}}}' for text, name in parts)
    assert template_fields(template) == [name for _, name in parts]

    values = [record.get(name, '') for _, name in parts]
    expected = ''
    if any(value.split() for value in values):
        for (text, _), value in zip(parts, values, strict=True):
            expected += text + value
    assert fill_template(template, record) == ' '.join(expected.split())


@pytest.mark.parametrize(
    'template',
    [
        '',
        'title',
        '{}',
        '{{title}}',
        '{title',
        'title}',
        '{a} }',
        '{a}{}',
        '{a}{b{c}}',
        '{title!r}',
        '{title:>10}',
        '{title:{brand}}',
    ],
)
def test_template_fields_refuses_more_than_names(template):
    with pytest.raises(ValueError) as info:
        template_fields(template)
    assert 'A template needs fields in braces' in str(info.value)
    assert f'(got {template!r})' in str(info.value)


def test_template_fields_in_their_order():
    assert template_fields('{b} by {a}, {b}') == ['b', 'a', 'b']


# Encoding ####################################################################


@pytest.mark.parametrize('chunk', [1, 2, 3, 4, 5, 100])
def test_encode(tmp_path, chunk):
    encoder = Lengths()
    texts = ['a', 'bbb', '', 'dd', 'eeeee']
    x = run(encoder, texts, tmp_path, chunk)
    assert x.dtype == torch.float32
    assert x.tolist() == [[1, 1], [3, 1], [0, 1], [2, 1], [5, 1]]
    assert [text for batch in encoder.batches for text in batch] == texts
    sizes = [len(batch) for batch in encoder.batches]
    assert all(size == chunk for size in sizes[:-1])
    assert sizes[-1] <= chunk


def test_encode_converts(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(1, 2, dtype=torch.float64))
    x = run(Returns(lambda texts: parameter * 1.5), ['a'], tmp_path)
    assert x.dtype == torch.float32
    assert not x.requires_grad
    assert x.tolist() == [[1.5, 1.5]]


def read_only(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x


@pytest.mark.parametrize('dtype', ['f2', 'f4', 'f8', '>f8', 'i8', 'u2', '?'])
@pytest.mark.parametrize(
    'form',
    [
        np.array,
        np.asfortranarray,
        read_only,
        lambda x: x.repeat(2, axis=0)[::-2][::-1],
    ],
    ids=['plain', 'by columns', 'read-only', 'strided'],
)
def test_encode_takes_arrays(tmp_path, dtype, form):
    """What a tensor gives, an array gives, too."""
    numbers = np.random.default_rng(0).normal(scale=1e3, size=(3, 4))
    if 'f' not in dtype:
        numbers = abs(numbers.round())
    array = form(numbers.astype(dtype))
    tensor = torch.from_numpy(numbers.astype(dtype.lstrip('>')))
    texts = ['a', 'b', 'c']
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        x = run(Returns(lambda texts: array), texts, tmp_path / '1')
        y = run(Returns(lambda texts: tensor), texts, tmp_path / '2')
    assert x.dtype == torch.float32
    assert x.equal(y)


def test_encode_copies_what_an_encoder_uses_again(tmp_path):
    buffer = torch.zeros(1, 1)

    def write_buffer(texts: list[str]) -> Tensor:
        buffer[0] = len(texts[0])
        return buffer

    x = run(Returns(write_buffer), ['a', 'bb', 'ccc'], tmp_path, chunk=1)
    assert x.tolist() == [[1], [2], [3]]


def test_encode_nothing(tmp_path):
    encoder = Lengths()
    assert run(encoder, [], tmp_path).shape == (0, 0)
    assert encoder.batches == []


def test_encode_reads_the_cache(tmp_path):
    cache = tmp_path / 'not' / 'there'
    x = run(Lengths(), ['a', 'bb'], cache)
    assert len(features(cache)) == 1
    assert features(cache)[0].startswith('text_')

    def contents():
        raise AssertionError('The contents were read in vain.')
        yield

    again = Lengths()
    keys = [b'a', b'bb']
    y = encode(again, contents(), keys, 'text', str(cache), chunk=1)
    assert y.equal(x)
    assert y.dtype == torch.float32
    assert again.batches == []


def test_encode_tells_contents_and_encoders_apart(tmp_path):
    for encoder, texts, new in [
        (Lengths(), ['a', 'bb'], ['a', 'bb']),
        (Lengths(2.0), ['a', 'bb'], ['a', 'bb']),
        (Lengths(), ['bb', 'a'], []),
        (Lengths(), ['a'], []),
        (Lengths(), ['ab', 'b'], ['ab', 'b']),
        (Lengths(), ['b', '', 'c', 'a', 'bb'], ['', 'c']),
    ]:
        expected = [[encoder.factor * len(t), encoder.factor] for t in texts]
        assert run(encoder, texts, tmp_path).tolist() == expected
        assert encoder.batches == ([new] if new else [])
    assert len(features(tmp_path)) == 4
    encoder = Lengths()
    encode(encoder, ['a'], [b'a'], 'image', str(tmp_path))
    assert encoder.batches == [['a']]
    assert len(features(tmp_path)) == 5


def test_encode_encodes_what_is_new_of_a_catalogue(tmp_path):
    """Of a thousand texts one changes: all others stay as they are, by bits."""
    random = torch.Generator().manual_seed(0)
    num_encoded = []

    def encoder(texts: list[str]) -> Tensor:
        num_encoded.append(len(texts))
        return torch.randn(len(texts), 3, generator=random)

    texts = [f'text {i}' for i in range(1_000)]
    before = run(Returns(encoder), texts, tmp_path)
    assert num_encoded == [256, 256, 256, 232]
    texts[617] = 'another text'
    after = run(Returns(encoder), texts, tmp_path)
    assert num_encoded[4:] == [1]
    assert (after != before).any(dim=1).nonzero().tolist() == [[617]]
    # Neither the order nor what is left out matters:
    order = torch.randperm(1_000, generator=random)[:300]
    some = [texts[i] for i in order.tolist()]
    assert run(Returns(encoder), some, tmp_path).equal(after[order])
    assert len(num_encoded) == 5


def test_encode_encodes_the_same_content_once(tmp_path):
    for factor in (1.0, 2.0):
        encoder = Lengths(factor)
        texts = ['a', 'bb', 'a', 'ccc', 'bb', 'a']
        x = run(encoder, texts, tmp_path, chunk=2)
        assert x[:, 0].tolist() == [factor * len(text) for text in texts]
        assert encoder.batches == [['a', 'bb'], ['ccc']]


@pytest.mark.parametrize('has_name', [False, True])
@pytest.mark.filterwarnings('ignore:The encoder of')
def test_encode_leaves_rows_without_content_empty(tmp_path, has_name):
    def lengths(texts: list[str]) -> Tensor:
        return Lengths()(texts)

    encoder = Lengths() if has_name else lengths
    keys = [None, b'a', None, b'bb', b'a', None]
    for _ in range(2):
        texts = iter(['a', 'bb', 'a'])
        x = encode(encoder, texts, keys, 'text', str(tmp_path))
        assert x.tolist() == [[0, 0], [1, 1], [0, 0], [2, 1], [1, 1], [0, 0]]
    x = encode(encoder, [], [None, None], 'text', str(tmp_path))
    assert x.shape == (2, 0)


CATALOGUES = st.lists(
    st.lists(st.one_of(st.none(), st.sampled_from('abcdefgh')), max_size=12),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(CATALOGUES, st.integers(1, 5), st.booleans())
def test_encode_of_changing_catalogues(
    tmp_path_factory, catalogues, chunk, is_sequence
):
    """Each content is encoded once at all, and each row is right."""
    cache = tmp_path_factory.mktemp('cache')
    seen: list[str] = []

    def encoder(texts: list[str]) -> Tensor:
        assert len(texts) <= chunk
        seen.extend(texts)
        return torch.tensor([[float(ord(text)), 1.0] for text in texts])

    for catalogue in catalogues:
        texts = [text for text in catalogue if text is not None]
        keys = [text and text.encode() for text in catalogue]
        contents = texts if is_sequence else iter(texts)
        x = encode(Returns(encoder), contents, keys, 'text', str(cache), chunk)
        rows = [[ord(t), 1] if t is not None else [0, 0] for t in catalogue]
        assert x.tolist() == (rows if texts else [[] for _ in catalogue])
    assert len(seen) == len(set(seen))
    assert set(seen) == {text for c in catalogues for text in c if text}


def test_encode_takes_of_a_sequence_what_is_new(tmp_path):
    taken = []

    def take(text: str) -> str:
        taken.append(text)
        return text

    for texts, new in [
        (['a', 'bb'], ['a', 'bb']),
        (['c', 'bb', 'd'], ['c', 'd']),
    ]:
        taken.clear()
        keys = [text.encode() for text in texts]
        contents = Lazy(take, texts)
        encode(Lengths(), contents, keys, 'text', str(tmp_path))
        assert taken == new


# Killed while encoding #######################################################

SLOW = """
import sys
import time

import torch

from pyg_ckd.datasets.features.encode import encode


class Lengths:
    def __call__(self, texts):
        print('.', flush=True)
        time.sleep(0.02)
        return torch.tensor([[len(text), 1.0] for text in texts])

    def __repr__(self):
        return 'Lengths(1.0)'


texts = [str(i) for i in range(100_000)]
encode(Lengths(), texts, [t.encode() for t in texts], 'text', sys.argv[1])
"""


def test_encode_goes_on_where_it_was_killed(tmp_path):
    command = [sys.executable, '-c', SLOW, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as killed:
        while len(features(tmp_path)) < 3:
            assert killed.stdout.readline(), 'it is at the end'
        killed.kill()
        assert killed.wait() == -signal.SIGKILL
    kept = [name for name in features(tmp_path) if name.endswith('.npy')]
    assert len(kept) >= 2  # a third one may have been written half
    num_kept = 0
    for name in kept:
        rows = np.load(tmp_path / name, mmap_mode='r')
        assert isinstance(rows['x'], np.memmap)
        num_kept += len(rows)

    texts = [str(i) for i in range(100_000)]
    encoder = Lengths()
    x = run(encoder, texts[: num_kept + 500], tmp_path)
    assert encoder.batches[0][0] == str(num_kept)
    assert sum(map(len, encoder.batches)) == 500
    assert x[:, 0].tolist() == [len(text) for text in texts[: len(x)]]


def test_encode_keeps_shards_when_an_encoder_fails(tmp_path):
    encoder = Lengths()

    def fails(texts: list[str]) -> Tensor:
        if len(encoder.batches) == 5:
            raise RuntimeError('out of memory')
        return encoder(texts)

    texts = [str(i) for i in range(2_000)]
    with pytest.raises(RuntimeError, match='out of memory'):
        run(Returns(fails), texts, tmp_path)
    assert len(features(tmp_path)) == 1
    again = Lengths()
    x = run(Returns(again), texts, tmp_path)
    assert x[:, 0].tolist() == [len(text) for text in texts]
    assert again.batches[0][0] == '1024'


def test_encode_does_not_mix_widths(tmp_path):
    run(Returns(lambda texts: torch.ones(2, 3)), ['a', 'b'], tmp_path)
    with pytest.raises(ValueError, match='returned 4 features after 3 before'):
        run(Returns(lambda texts: torch.ones(1, 4)), ['a', 'c'], tmp_path)


def test_encode_does_not_cache_encoders_without_a_name(tmp_path):
    for factor in (1, 2):
        with pytest.warns(
            UserWarning, match="encoder of 'text' cannot be told"
        ):
            x = run(
                lambda texts, factor=factor: factor * torch.ones(1, 1),
                ['a'],
                tmp_path,
            )
        assert x.tolist() == [[factor]]
    assert os.listdir(tmp_path) == []


def test_encode_does_not_warn_of_encoders_with_a_name(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        run(Lengths(), ['a'], tmp_path)


def npy(x: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, x)
    return file.getvalue()


@pytest.mark.parametrize(
    'damage',
    [
        lambda raw: b'',
        lambda raw: b'no features',
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-1],
        lambda raw: raw + b'0',
        lambda raw: npy(np.zeros(3)),
        lambda raw: npy(np.zeros(3, [('key', 'V16'), ('x', '<f8', (2,))])),
        lambda raw: npy(np.zeros(3, [('key', 'V16'), ('x', '<f4')])),
        lambda raw: npy(np.zeros((2, 3), [('key', 'V16'), ('x', '<f4', (2,))])),
    ],
)
def test_encode_refuses_a_damaged_cache(tmp_path, damage):
    run(Lengths(), ['a', 'bb'], tmp_path)
    path = tmp_path / features(tmp_path)[0]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"^'{path}' is damaged; delete it"):
        run(Lengths(), ['a', 'bb'], tmp_path)
    path.unlink()
    assert run(Lengths(), ['a', 'bb'], tmp_path).tolist() == [[1, 1], [2, 1]]


class Bomb:
    """Creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_encode_unpickles_nothing(tmp_path):
    run(Lengths(), ['a'], tmp_path)
    path = tmp_path / features(tmp_path)[0]
    np.save(path, np.array([Bomb(tmp_path / 'trace')]), allow_pickle=True)
    with pytest.raises(ValueError, match=f"'{path}' is damaged"):
        run(Lengths(), ['a'], tmp_path)
    assert not (tmp_path / 'trace').exists()


NEEDS = r"^The encoder of 'text' needs to return a tensor or NumPy array of s"


@pytest.mark.parametrize(
    ('function', 'message'),
    [
        (lambda texts: torch.ones(2), rf'{NEEDS}.*got \(2,\)\)'),
        (lambda texts: torch.ones(2, 1, 1), rf'{NEEDS}.*got \(2, 1, 1\)\)'),
        (lambda texts: torch.ones(1, 2), rf'{NEEDS}.*got \(1, 2\)\)'),
        (lambda texts: torch.ones(3, 2), rf'{NEEDS}.*got \(3, 2\)\)'),
        (lambda texts: np.ones(2), rf'{NEEDS}.*got \(2,\)\)'),
        (lambda texts: np.ones((3, 2)), rf'{NEEDS}.*got \(3, 2\)\)'),
        (
            lambda texts: np.array([['x'], ['y']], dtype=object),
            "^The encoder of 'text' needs to return numbers .*of 'object'",
        ),
        (
            lambda texts: np.array([['x'], ['y']]),
            "^The encoder of 'text' needs to return numbers .*of '<U1'",
        ),
        (
            lambda texts: np.array([[1.0], [1e300]]),
            "^The encoder of 'text' returned NaN or infinity for 'b'",
        ),
        (lambda texts: [[1.0], [2.0]], rf'{NEEDS}.*got list\)'),
        (lambda texts: None, rf'{NEEDS}.*got NoneType\)'),
        (
            lambda texts: torch.ones(2, 3 if 'a' in texts else 4),
            "^The encoder of 'text' returned 4 features after 3 before",
        ),
        (
            lambda texts: torch.tensor([[1.0, 1.0], [1.0, torch.nan]]),
            "^The encoder of 'text' returned NaN or infinity for 'b'",
        ),
        (
            lambda texts: torch.tensor([[torch.inf], [1.0]]),
            "^The encoder of 'text' returned NaN or infinity for 'a'",
        ),
        (
            lambda texts: torch.tensor([[1.0], [1e300]], dtype=torch.float64),
            "^The encoder of 'text' returned NaN or infinity for 'b'",
        ),
    ],
)
def test_encode_refuses(tmp_path, function, message):
    with pytest.raises(ValueError, match=message):
        run(Returns(function), ['a', 'b', 'c', 'd'], tmp_path, chunk=2)
    assert features(tmp_path) == []


@pytest.mark.parametrize('room', [0, 100, 0.5, -1])
def test_encode_leaves_nothing_on_a_full_disk(tmp_path, room):
    texts = [str(i) for i in range(1_000)]
    run(Lengths(), texts, tmp_path / 'other')
    (name,) = features(tmp_path / 'other')
    size = (tmp_path / 'other' / name).stat().st_size
    room = int(room * size) if room == 0.5 else room % size

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        with pytest.raises(
            OSError, match=f"'{tmp_path}.* could not be written"
        ):
            run(Lengths(), texts, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert features(tmp_path) == [f'other/{name}']
    assert run(Lengths(), texts, tmp_path).shape == (1_000, 2)


def test_encode_at_the_same_time(tmp_path):
    is_encoding, may_go_on = threading.Event(), threading.Event()

    def wait(texts: list[str]) -> Tensor:
        is_encoding.set()
        assert may_go_on.wait(60)
        return torch.ones(1, 1)

    second = Returns(lambda texts: torch.zeros(1, 1))
    results: list[Tensor] = []
    threads = [
        threading.Thread(
            target=lambda e=e: results.append(run(e, ['a'], tmp_path))
        )
        for e in (Returns(wait), second)
    ]
    threads[0].start()
    assert is_encoding.wait(60)
    threads[1].start()
    threads[1].join(0.1)
    assert threads[1].is_alive(), 'did not wait for the first'
    may_go_on.set()
    for thread in threads:
        thread.join(60)
    assert [x.tolist() for x in results] == [[[1.0]], [[1.0]]]


# Missing features ############################################################


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.booleans(), min_size=1, max_size=10).filter(any),
    st.integers(1, 3),
)
def test_fill_missing(present, width):
    torch.manual_seed(0)
    x = torch.randn(len(present), width)
    x[~torch.tensor(present)] = 0
    rows = x.tolist()
    known = [row for row, has in zip(rows, present, strict=True) if has]
    mean = [sum(column) / len(known) for column in zip(*known, strict=True)]

    fill_missing(x, torch.tensor(present))
    for row, before, has in zip(x, rows, present, strict=True):
        torch.testing.assert_close(row, torch.tensor(before if has else mean))
