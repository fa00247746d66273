import gzip
import hashlib
import html
import json
import os
import random
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.datasets.amazon_multimodal import AmazonMultimodal
from pyg_ckd.datasets.formats.amazon_2014 import read_reviews
from pyg_ckd.datasets.splits import (
    LATTICESplit,
    LeaveOneOut,
    MMRecSplit,
    PublishedSplit,
    RandomSplit,
    TimeSplit,
)
from pyg_ckd.graph import RATED_BY, RATES

NAMES = {
    'reviews': 'reviews_Tiny_5.json.gz',
    'metadata': 'meta_Tiny.json.gz',
    'image': 'image_features_Tiny.b',
}
SPLITS = ('edge_index', 'val_edge_label_index', 'test_edge_label_index')
RULES = (
    RandomSplit(),
    RandomSplit(seed=1),
    TimeSplit(),
    LeaveOneOut(),
    MMRecSplit(seed=1),
    LATTICESplit(seed=1),
)

ITEMS = [f'B00000000{i}' for i in range(8)]
PAIRS = [(f'U{u}', ITEMS[i]) for u in range(6) for i in range(8) if (u + i) % 4]
random.Random(0).shuffle(PAIRS)
TIMES = random.Random(1).sample(range(10**9), len(PAIRS))
REVIEWS = [
    {
        'reviewerID': user,
        'asin': item,
        'overall': float(1 + row % 5),
        'unixReviewTime': TIMES[row],
    }
    for row, (user, item) in enumerate(PAIRS)
]
METADATA = [  # Of all but the third item; the fourth has no text.
    {
        'asin': ITEMS[7],
        'title': 'Cup &amp; saucer',
        'brand': 'Acme',
        'categories': [['Home', 'Cups'], ['Gifts']],
        'description': 'A  red\ncup',
    },
    {'asin': 'B999999999', 'title': 'Nobody reviewed this'},
    {'asin': ITEMS[0], 'price': 4.5, 'title': "It's a ™"},
    {'categories': [['Home']], 'asin': ITEMS[1]},
    {'asin': ITEMS[3], 'title': '', 'categories': [[]], 'brand': None},
    {'asin': ITEMS[4], 'brand': '{title}'},
    {'asin': ITEMS[5], 'title': 'A', 'description': 'B'},
    {'asin': ITEMS[6], 'title': 'Plain'},
]
IMAGES = {  # Of all but the second and the fifth item.
    item: np.random.default_rng(seed).random(4096, np.float32)
    for seed, item in enumerate(
        ['B999999999', *(ITEMS[i] for i in (6, 0, 7, 2, 5, 3))]
    )
}


class Counts:
    """Counts letters and spaces of texts, and remembers the texts."""

    def __init__(self, factor: int = 1) -> None:
        self.factor = factor
        self.texts: list[str] = []

    def __call__(self, texts: list[str]) -> Tensor:
        self.texts += texts
        counts = [[len(text), text.count(' '), 1] for text in texts]
        return self.factor * torch.tensor(counts)

    def __repr__(self) -> str:
        return f'Counts({self.factor})'


class Calls(Counts):
    """Calls a function instead of counting."""

    def __init__(self, function: Callable[[list[str]], Any]) -> None:
        super().__init__()
        self.function = function

    def __call__(self, texts: list[str]) -> Any:
        return self.function(texts)

    __repr__ = Counts.__repr__  # whatever the function


class Scale(BaseTransform):
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def forward(self, data: HeteroData) -> HeteroData:
        data['item'].x_text = data['item'].x_text * self.factor
        return data

    def __repr__(self) -> str:
        return f'Scale({self.factor})'


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_bytes(gzip.compress('\n'.join([*lines, '']).encode(), mtime=0))


def write(
    root: Path,
    reviews: list[dict] = REVIEWS,
    metadata: list[dict] = METADATA,
    images: dict[str, np.ndarray] = IMAGES,
    url: str = 'http://127.0.0.1:9',
    statistics: tuple[int, int, int] | None = None,
) -> Path:
    """Write the folder of raw files, and a recipe, and return the folder."""
    folder = root / 'Tiny' / 'raw'
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / NAMES['reviews'], [json.dumps(r) for r in reviews])
    write_lines(folder / NAMES['metadata'], [repr(r) for r in metadata])
    (folder / NAMES['image']).write_bytes(
        b''.join(asin.encode() + x.tobytes() for asin, x in images.items())
    )
    recipe = ''
    if statistics is not None:
        names = ('users', 'items', 'interactions')
        recipe += '[statistics]\n' + ''.join(
            f'{name} = {number}\n'
            for name, number in zip(names, statistics, strict=True)
        )
    for key, name in NAMES.items():
        recipe += f'[files.{key}]\nname = "{name}"\nurls = ["{url}/{name}"]\n'
    (root / 'tiny.toml').write_text(recipe)
    return folder


def load(
    root: Path | str, encoder: Any = None, **arguments: Any
) -> AmazonMultimodal:
    return AmazonMultimodal(
        root,
        'Tiny',
        text_encoder=encoder or Counts(),
        recipe=Path(root, 'tiny.toml'),
        **arguments,
    )


def content(data: HeteroData) -> dict[str, Any]:
    """Return all that a graph holds, to compare it."""
    return {
        f'{store._key}.{key}': value.tolist()
        if isinstance(value, Tensor)
        else value
        for store in data.stores
        for key, value in store.items()
    }


def files_in(folder: Path) -> list[str]:
    """Return the files in a folder, but for those that lock others."""
    paths = [path for path in folder.rglob('*') if path.is_file()]
    names = [str(path.relative_to(folder)) for path in paths]
    return sorted(name for name in names if not name.endswith('.lock'))


# The graph ###################################################################


def naive(
    reviews: list[dict], metadata: list[dict], images: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Compute the graph of `leave_one_out` one interaction at a time."""
    users = sorted({review['reviewerID'] for review in reviews})
    items = sorted({review['asin'] for review in reviews})
    edges: dict[str, list] = {'train': [], 'val': [], 'test': []}
    rating: list[float] = []
    times: dict[str, list[int]] = {'train': [], 'val': [], 'test': []}
    for review in reviews:
        later = [
            other
            for other in reviews
            if other['reviewerID'] == review['reviewerID']
            and other['unixReviewTime'] > review['unixReviewTime']
        ]
        name = ['test', 'val'][len(later)] if len(later) < 2 else 'train'
        edges[name].append(
            [users.index(review['reviewerID']), items.index(review['asin'])]
        )
        times[name].append(review['unixReviewTime'])
        if name == 'train':
            rating.append(review['overall'])

    texts = {}
    for record in metadata:
        words = [record.get('title'), record.get('brand')]
        words += [
            word for path in record.get('categories', []) for word in path
        ]
        words.append(record.get('description'))
        text = html.unescape(' '.join(word or '' for word in words))
        if text.split():
            texts[record['asin']] = ' '.join(text.split())
    x_text = {
        item: [float(len(text)), float(text.count(' ')), 1.0]
        for item, text in texts.items()
    }
    x_image = {item: x.tolist() for item, x in images.items()}

    graph: dict[str, Any] = {'None.split': 'LeaveOneOut()'}
    graph['user.num_nodes'] = len(users)
    graph['item.num_nodes'] = len(items)
    for modality, x in [('image', x_image), ('text', x_text)]:
        known = [x[item] for item in items if item in x]
        mean = [sum(column) / len(known) for column in zip(*known, strict=True)]
        graph[f'item.x_{modality}'] = [x.get(item, mean) for item in items]
        if len(known) < len(items):
            graph[f'item.has_{modality}'] = [item in x for item in items]
    for name, key in zip(edges, SPLITS, strict=True):
        graph[f'{RATES}.{key}'] = [*map(list, zip(*edges[name], strict=True))]
    graph[f'{RATES}.rating'] = rating
    graph[f'{RATES}.time'] = times['train']
    for name in ('val', 'test'):
        graph[f'{RATES}.{name}_edge_label_time'] = times[name]
    graph[f'{RATED_BY}.edge_index'] = graph[f'{RATES}.edge_index'][::-1]
    return graph


@pytest.mark.parametrize('is_complete', [False, True])
def test_amazon_multimodal(tmp_path, is_complete):
    metadata, images = METADATA, IMAGES
    if is_complete:
        metadata = [{'asin': item, 'title': item} for item in ITEMS]
        images = {
            item: IMAGES['B999999999'] * i for i, item in enumerate(ITEMS)
        }
    write(tmp_path, REVIEWS, metadata, images)
    dataset = load(tmp_path, split='leave_one_out')
    assert str(dataset) == 'Tiny()'
    assert len(dataset) == 1
    assert dataset.users == [f'U{u}' for u in range(6)]
    assert dataset.items == ITEMS

    data = dataset[0]
    data.validate()
    assert data.node_types == ['user', 'item']
    assert data.edge_types == [RATES, RATED_BY]
    assert data['item'].x_image.dtype == torch.float32
    assert data['item'].x_text.dtype == torch.float32
    assert data[RATES].rating.dtype == torch.float32
    assert data[RATES].time.dtype == torch.long

    found, expected = content(data), naive(REVIEWS, metadata, images)
    assert found.pop('user.name') == dataset.users
    assert found.pop('item.name') == dataset.items
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if '.x_' in key:
            assert found[key] == [pytest.approx(row) for row in value]
        else:
            assert found[key] == value


def test_amazon_multimodal_does_not_depend_on_the_order_of_items(tmp_path):
    write(tmp_path / 'a')
    images = [*IMAGES.items()]
    write(tmp_path / 'b', REVIEWS, METADATA[::-1], dict(images[::-1]))
    a, b = (content(load(tmp_path / name)[0]) for name in 'ab')
    assert a == b


def test_amazon_multimodal_numbers_nodes_the_same_in_any_order(tmp_path):
    write(tmp_path / 'a')
    write(tmp_path / 'b', REVIEWS[::-1])
    a, b = (load(tmp_path / name, split='leave_one_out') for name in ('a', 'b'))
    assert a.users == b.users
    assert a.items == b.items
    assert a[0]['item'].x_text.equal(b[0]['item'].x_text)
    assert a[0]['item'].x_image.equal(b[0]['item'].x_image)
    for key in SPLITS:
        pairs = [sorted(data[0][RATES][key].T.tolist()) for data in (a, b)]
        assert pairs[0] == pairs[1]


# Splits ######################################################################


def test_amazon_multimodal_splits(tmp_path):
    folder = write(tmp_path)
    reviews = read_reviews(folder / NAMES['reviews'])
    pairs = torch.stack([reviews.user, reviews.item])
    for rule in RULES:
        data = load(tmp_path, split=rule, modalities=())[0]
        assert data.split == repr(rule)
        label = rule(reviews)
        for value, key in enumerate(SPLITS):
            assert data[RATES][key].equal(pairs[:, label == value])
        assert data[RATES].rating.equal(reviews.rating[label == 0])
        assert data[RATES].time.equal(reviews.time[label == 0])


def test_amazon_multimodal_reads_a_published_split(tmp_path):
    write(tmp_path)
    path = tmp_path / 'split.csv'
    names = ['train', 'validation', 'test']

    def publish(shift: int) -> None:
        rows = [
            f'{user},{item},{names[(row + shift) % 3]}'
            for row, (user, item) in enumerate(PAIRS)
        ]
        path.write_text('\n'.join(['user,item,split', *reversed(rows)]))
        os.utime(path, ns=(shift, shift))  # In case the clock is coarse.

    for shift in (0, 1):
        publish(shift)
        dataset = load(tmp_path, split=path, modalities=())
        rates = dataset[0][RATES]
        for value, key in enumerate(SPLITS):
            assert [
                (dataset.users[u], dataset.items[i])
                for u, i in rates[key].T.tolist()
            ] == [
                pair
                for row, pair in enumerate(PAIRS)
                if (row + shift) % 3 == value
            ]
        assert dataset[0].split == repr(PublishedSplit(path))


def test_amazon_multimodal_refuses_splits(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match=r"'split' is neither .*'shuffled'"):
        load(tmp_path, split='shuffled')
    path = tmp_path / 'split.csv'
    path.write_text('user,item,split\nU0,B000000001,train\n')
    with pytest.raises(ValueError, match=f"'{path}' lacks 35 interactions"):
        load(tmp_path, split=path)


# Statistics ##################################################################


def test_amazon_multimodal_compares_statistics(tmp_path):
    write(tmp_path, statistics=(6, 8, 36))
    assert load(tmp_path)[0]['user'].num_nodes == 6


@pytest.mark.parametrize('statistics', [(5, 8, 36), (6, 9, 36), (6, 8, 35)])
def test_amazon_multimodal_refuses_other_statistics(tmp_path, statistics):
    folder = write(tmp_path, statistics=statistics)
    with pytest.raises(ValueError) as info:
        load(tmp_path)
    keys = ('users', 'items', 'interactions')
    for part in [
        f"'{folder / NAMES['reviews']}' has {{'users': 6, 'items': 8, "
        f"'interactions': 36}}",
        f'but the published file {dict(zip(keys, statistics, strict=True))}',
        "delete it and its line in 'SHA256SUMS'",
        'a recipe without [statistics]',
    ]:
        assert part in str(info.value)
    assert files_in(tmp_path / 'Tiny' / 'processed') == []


# Modalities ##################################################################


def test_amazon_multimodal_needs_only_the_files_of_its_modalities(tmp_path):
    folder = write(tmp_path)
    whole = load(tmp_path)[0]
    (folder / NAMES['image']).rename(folder / 'image')
    text = load(tmp_path, modalities=('text',))
    assert text.raw_file_names == [NAMES['reviews'], NAMES['metadata']]
    assert [*text[0]['item']] == ['num_nodes', 'x_text', 'has_text', 'name']
    assert text[0]['item'].x_text.equal(whole['item'].x_text)

    (folder / 'image').rename(folder / NAMES['image'])
    (folder / NAMES['metadata']).unlink()
    encoder = Counts()
    image = load(tmp_path, encoder, modalities=['image'])
    assert [*image[0]['item']] == ['num_nodes', 'x_image', 'has_image', 'name']
    assert image[0]['item'].x_image.equal(whole['item'].x_image)
    assert encoder.texts == []

    (folder / NAMES['image']).unlink()
    assert [*load(tmp_path, modalities=[])[0]['item']] == ['num_nodes', 'name']


def test_amazon_multimodal_sorts_modalities(tmp_path):
    write(tmp_path)
    first = load(tmp_path, modalities=('text', 'image'))
    assert [key for key in first[0]['item'] if key[:2] == 'x_'] == [
        'x_image',
        'x_text',
    ]
    second = load(tmp_path, modalities=('image', 'text', 'image'))
    assert first.processed_paths == second.processed_paths


@pytest.mark.parametrize(
    ('images', 'metadata', 'modality'),
    [
        ({'B999999999': IMAGES['B999999999']}, METADATA, 'image'),
        (IMAGES, METADATA[1:2], 'text'),
        (IMAGES, [METADATA[4]], 'text'),
    ],
)
def test_amazon_multimodal_refuses_modalities_of_no_item(
    tmp_path, images, metadata, modality
):
    write(tmp_path, REVIEWS, metadata, images)
    message = f"^No item has the modality '{modality}'; check that ids"
    with pytest.raises(ValueError, match=message):
        load(tmp_path)
    assert files_in(tmp_path / 'Tiny' / 'processed') == []


def test_amazon_multimodal_refuses_arguments(tmp_path):
    write(tmp_path)
    for arguments, message in [
        ({'modalities': ['audio']}, "'modalities' may name .*got 'audio'"),
        ({'modalities': 'text'}, "'modalities' may name .*got 't'"),
        ({'template': 'title'}, "A template needs fields .*got 'title'"),
        ({'template': '{price}'}, r"'template' may have .*\(got 'price'\)"),
        ({'template': '{title.a}'}, r"'template' may have .*'title\.a'"),
    ]:
        with pytest.raises(ValueError, match=message):
            load(tmp_path, **arguments)
    with pytest.raises(ValueError, match="'Tiny' is not a category"):
        AmazonMultimodal(tmp_path, 'Tiny')
    assert not (tmp_path / 'Tiny' / 'processed').exists()


# Texts #######################################################################


def test_amazon_multimodal_fills_the_template(tmp_path):
    write(tmp_path)
    encoder = Counts()
    load(tmp_path, encoder)
    assert encoder.texts == [
        "It's a ™",
        'Home',
        '{title}',
        'A B',
        'Plain',
        'Cup & saucer Acme Home Cups Gifts A red cup',
    ]
    encoder = Counts()
    data = load(tmp_path, encoder, template='{brand}:{title}')[0]
    assert encoder.texts == [
        ":It's a ™",
        '{title}:',
        ':A',
        ':Plain',
        'Acme:Cup & saucer',
    ]
    assert data['item'].has_text.tolist() == [
        item in (0, 4, 5, 6, 7) for item in range(8)
    ]


def test_amazon_multimodal_encodes_texts_once(tmp_path):
    folder = write(tmp_path)
    expected = load(tmp_path)[0]['item'].x_text

    def texts(**arguments: Any) -> list[str]:
        encoder = arguments.pop('encoder', None) or Counts()
        data = load(tmp_path, encoder, **arguments)[0]
        if not encoder.texts:
            assert data['item'].x_text.equal(expected)
        return encoder.texts

    for arguments in (
        {'split': 'random'},
        {'split': MMRecSplit(seed=7)},
        {'modalities': ['text']},
        {'force_reload': True},
        {'pre_transform': Scale(1)},
    ):
        assert texts(**arguments) == []
    # Of four texts two are known:
    assert texts(template='{title}') == ['A', 'Cup & saucer']
    assert len(texts(encoder=Counts(2))) == 6

    (folder / 'SHA256SUMS').unlink()
    changed = [*METADATA[:-1], {'asin': ITEMS[6], 'title': 'Changed'}]
    write(tmp_path, metadata=changed)
    assert 'Changed' in texts()


def test_amazon_multimodal_does_not_save_for_encoders_without_a_name(tmp_path):
    write(tmp_path)
    for factor in (1, 2):
        for _ in range(2):
            with pytest.warns(UserWarning, match="'text' cannot be told"):
                data = load(
                    tmp_path,
                    lambda texts, factor=factor: (
                        factor * torch.ones(len(texts), 1)
                    ),
                )[0]
            assert data['item'].x_text.tolist() == [[factor]] * 8


@pytest.mark.parametrize(
    ('function', 'message'),
    [
        (lambda texts: torch.ones(6), r"of 'text' needs .*\(got \(6,\)\)"),
        (lambda texts: torch.ones(5, 2), r"of 'text' needs .*got \(5, 2\)\)"),
        (lambda texts: [[1.0]] * 6, r"of 'text' needs .*\(got list\)"),
        (
            lambda texts: torch.full((6, 1), torch.nan),
            "of 'text' returned NaN or infinity for \"It's a ™\"",
        ),
    ],
)
def test_amazon_multimodal_refuses_encoders(tmp_path, function, message):
    write(tmp_path)
    with pytest.raises(ValueError, match=message):
        load(tmp_path, Calls(function))
    assert files_in(tmp_path / 'Tiny' / 'processed') == []
    assert files_in(tmp_path / 'Tiny' / 'features') == []
    assert load(tmp_path)[0]['item'].num_nodes == 8  # By the same `repr`.


def test_amazon_multimodal_refuses_encoders_of_changing_width(tmp_path):
    reviews, metadata = [], []
    for i in range(300):
        for user in ('A', 'B', 'C'):
            reviews.append({**REVIEWS[0], 'reviewerID': user, 'asin': f'B{i}'})
        metadata.append({'asin': f'B{i}', 'title': f'{i}'})
    write(tmp_path, reviews, metadata)
    encoder = Calls(lambda texts: torch.ones(len(texts), len(texts)))
    message = "of 'text' returned 44 features after 256 before"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, encoder, modalities=['text'])


# Invalid files ###############################################################


def write_invalid(root: Path, *keys: str) -> Path:
    """Write raw files, some of them with something to skip."""
    nan = np.full(4096, np.nan, np.float32)
    return write(
        root,
        [*REVIEWS, {'asin': 'B'}] if 'reviews' in keys else REVIEWS,
        [*METADATA, METADATA[0]] if 'metadata' in keys else METADATA,
        {**IMAGES, ITEMS[1]: nan} if 'image' in keys else IMAGES,
    )


def test_amazon_multimodal_skips_invalid_lines(tmp_path):
    write(tmp_path / 'valid')
    folder = write_invalid(tmp_path / 'invalid', *NAMES)
    expected = load(tmp_path / 'valid')[0]
    with pytest.warns(UserWarning) as caught:
        data = load(tmp_path / 'invalid', skip_invalid=True)[0]
    assert content(data) == content(expected)
    messages = [str(warning.message) for warning in caught]
    for key, message in zip(
        ('reviews', 'image', 'metadata'), messages, strict=True
    ):
        assert f"'{folder / NAMES[key]}': " in message
        assert ': 1 invalid ' in message
    with pytest.raises(ValueError, match='line 37: '):
        load(tmp_path / 'invalid')


@pytest.mark.parametrize(
    ('key', 'where'),
    [('reviews', 'line 37'), ('metadata', 'line 9'), ('image', 'record 8')],
)
def test_amazon_multimodal_refuses_invalid_lines(tmp_path, key, where):
    folder = write_invalid(tmp_path, key)
    with pytest.raises(ValueError, match=f"^'{folder / NAMES[key]}', {where}:"):
        load(tmp_path)
    assert files_in(tmp_path / 'Tiny' / 'processed') == []

    # The broken file is known, until its checksum is forgotten:
    write(tmp_path)
    with pytest.raises(ValueError, match=r'delete its line in .*SHA256SUMS'):
        load(tmp_path)
    (folder / 'SHA256SUMS').unlink()
    assert load(tmp_path)[0]['item'].num_nodes == 8


# Saved results ###############################################################


def test_amazon_multimodal_is_processed_once(tmp_path, monkeypatch):
    write(tmp_path)
    first = load(tmp_path, pre_transform=Scale(3))
    with monkeypatch.context() as patch:
        patch.setattr(AmazonMultimodal, 'process', None)
        second = load(tmp_path, pre_transform=Scale(3))
    assert content(second[0]) == content(first[0])
    assert second.users == first.users
    assert second.items == first.items
    path = Path(second.processed_paths[0])
    assert path.parents[1] == tmp_path / 'Tiny' / 'processed'
    results = [f'{path.parent.name}/data.pt', 'digests.json']
    assert files_in(path.parents[1]) == results
    assert load(tmp_path)[0]['item'].x_text[0, 2] == 1
    assert second[0]['item'].x_text[0, 2] == 3

    before = path.stat().st_ino
    load(tmp_path, pre_transform=Scale(3), force_reload=True)
    assert path.stat().st_ino != before


def test_amazon_multimodal_processed_root(tmp_path):
    folder = write(tmp_path / 'raw')
    dataset = load(tmp_path / 'raw', processed_root=tmp_path / 'out')
    assert dataset[0]['item'].num_nodes == 8
    assert {name.split('/')[1] for name in files_in(tmp_path / 'out')} == {
        'features',
        'processed',
    }
    assert files_in(folder.parent) == sorted(
        ['raw/SHA256SUMS', *(f'raw/{name}' for name in NAMES.values())]
    )


class Bomb:
    """Creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_amazon_multimodal_unpickles_nothing(tmp_path):
    write(tmp_path)
    path = load(tmp_path).processed_paths[0]
    torch.save((Bomb(tmp_path / 'trace'), None, HeteroData), path)
    with pytest.raises(ValueError, match=f"'{path}'"):
        load(tmp_path)
    assert not (tmp_path / 'trace').exists()
    assert load(tmp_path, force_reload=True)[0]['item'].num_nodes == 8


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_amazon_multimodal_survives_interruption(tmp_path):
    write(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, Calls(interrupt))
    assert files_in(tmp_path / 'Tiny' / 'processed') == []
    assert files_in(tmp_path / 'Tiny' / 'features') == []

    class Interrupt(BaseTransform):
        def forward(self, data: HeteroData) -> HeteroData:
            raise KeyboardInterrupt

        def __repr__(self) -> str:
            return 'None'  # Shares its folder with no transform at all.

    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, pre_transform=Interrupt())
    assert not [*tmp_path.rglob('data.pt*')]
    assert load(tmp_path)[0]['item'].num_nodes == 8


@pytest.mark.parametrize(
    ('limit', 'file'),
    [(20, 'SHA256SUMS'), (600, 'text_'), (20_000, 'data.pt')],
)
def test_amazon_multimodal_leaves_nothing_on_a_full_disk(tmp_path, limit, file):
    folder = write(tmp_path)
    encoder = Calls(lambda texts: torch.ones(len(texts), 100))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        message = f'/{file}.* could not be written'
        with pytest.raises(OSError, match=message):
            load(tmp_path, encoder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    names = [path.split('/')[-1] for path in files_in(tmp_path / 'Tiny')]
    assert not [name for name in names if name.startswith(file)]
    assert load(tmp_path, encoder)[0]['item'].x_text.shape == (8, 100)
    assert (folder / 'SHA256SUMS').exists()


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_amazon_multimodal import Calls, Counts, content, load

def wait(texts):
    print('encoding', flush=True)
    sys.stdin.readline()
    return Counts()(texts)

print(content(load(sys.argv[2], Calls(wait))[0]))
"""


def test_amazon_multimodal_in_two_processes(tmp_path):
    write(tmp_path)
    with subprocess.Popen(
        [sys.executable, '-c', SCRIPT, str(Path(__file__).parent), tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == 'encoding\n'
        encoder, found = Counts(), []
        thread = threading.Thread(
            target=lambda: found.append(load(tmp_path, encoder)[0])
        )
        thread.start()
        thread.join(0.2)
        assert thread.is_alive(), 'did not wait for the other process'
        out, _ = process.communicate('go on\n')
        thread.join(60)
    assert process.returncode == 0
    assert encoder.texts == []
    assert out.strip() == str(content(found[0]))


# Downloads ###################################################################


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[tuple[str, Path, list[str]]]:
    """Serve a folder, and tell its URL and what was asked for."""
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    folder, asked = tmp_path / 'served', []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            """Send files, below ``/cut`` the first half of what is promised."""
            if not self.path.startswith('/cut/'):
                return super().do_GET()
            path = Path(self.directory, self.path.removeprefix('/cut/'))
            self.send_response(200)
            self.send_header('Content-Length', str(path.stat().st_size))
            self.end_headers()
            self.wfile.write(path.read_bytes()[: path.stat().st_size // 2])

        def log_request(self, *_: object) -> None:
            asked.append(self.path)

    handler = partial(Handler, directory=str(folder / 'Tiny' / 'raw'))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        yield f'http://127.0.0.1:{server.server_port}', folder, asked
        server.shutdown()
        thread.join()


def test_amazon_multimodal_downloads(tmp_path, server):
    url, served, asked = server
    folder = write(served, url=url)
    recipe = (served / 'tiny.toml').rename(tmp_path / 'tiny.toml')

    text = load(tmp_path, modalities=['text'])[0]
    assert asked == [f'/{NAMES[key]}' for key in ('reviews', 'metadata')]
    data = load(tmp_path)[0]
    assert asked[2:] == [f'/{NAMES["image"]}']
    for name in NAMES.values():
        path = tmp_path / 'Tiny' / 'raw' / name
        assert path.read_bytes() == (folder / name).read_bytes()
        assert name in path.with_name('SHA256SUMS').read_text()

    recipe.rename(served / 'tiny.toml')
    assert content(data) == content(load(served)[0])
    assert text['item'].x_text.equal(data['item'].x_text)
    assert len(asked) == 3


@pytest.mark.parametrize('bad', ['gone', 'cut'])
def test_amazon_multimodal_asks_the_next_mirror(
    tmp_path, server, monkeypatch, bad
):
    """The first has no file, or breaks each off, as often as it is asked."""
    monkeypatch.setattr('pooch.core.time.sleep', lambda seconds: None)
    url, served, asked = server
    folder = write(served, url=f'{url}/{bad}')
    recipe = (served / 'tiny.toml').read_text()
    (tmp_path / 'tiny.toml').write_text(recipe)
    with pytest.raises(ConnectionError, match=f'{url}/{bad}/'):
        load(tmp_path)
    assert not any((tmp_path / 'Tiny' / 'raw').glob('*.*[!k]'))
    for name in NAMES.values():
        both = f'"{url}/{bad}/{name}", "{url}/{name}"'
        recipe = recipe.replace(f'"{url}/{bad}/{name}"', both)
    (tmp_path / 'tiny.toml').write_text(recipe)
    asked.clear()
    load(tmp_path)
    for name in NAMES.values():
        path = tmp_path / 'Tiny' / 'raw' / name
        assert path.read_bytes() == (folder / name).read_bytes()
        assert asked.count(f'/{bad}/{name}') == 3
        assert asked.count(f'/{name}') == 1


def test_amazon_multimodal_refuses_files_of_another_checksum(
    tmp_path, server, monkeypatch
):
    monkeypatch.setattr('pooch.core.time.sleep', lambda seconds: None)
    url, served, _ = server
    write(served, url=url)
    known = hashlib.sha256(b'another').hexdigest()
    recipe = (served / 'tiny.toml').read_text()
    (tmp_path / 'tiny.toml').write_text(f'{recipe}sha256 = "{known}"\n')
    with pytest.raises(ConnectionError, match=f'expected to be {known}'):
        load(tmp_path)
    assert not (tmp_path / 'Tiny' / 'raw' / NAMES['image']).exists()
    (tmp_path / 'tiny.toml').write_text(recipe)
    assert load(tmp_path)[0]['item'].x_image.size(1) == 4096


def test_amazon_multimodal_names_files_that_no_mirror_has(
    tmp_path, monkeypatch
):
    monkeypatch.setattr('pooch.core.time.sleep', lambda seconds: None)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    folder = write(tmp_path)
    for key in ('image', 'metadata'):
        (folder / NAMES[key]).unlink()
    with pytest.raises(ConnectionError) as info:
        load(tmp_path)
    for part in [
        NAMES['image'],
        NAMES['metadata'],
        f'http://127.0.0.1:9/{NAMES["image"]}',
        f"put them into '{folder}'",
    ]:
        assert part in str(info.value)
    assert NAMES['reviews'] not in str(info.value)
    assert not (tmp_path / 'Tiny' / 'processed').exists()


def test_amazon_multimodal_refuses_changed_files(tmp_path):
    folder = write(tmp_path)
    load(tmp_path)
    write(tmp_path, images={**IMAGES, ITEMS[1]: IMAGES[ITEMS[0]]})
    message = f"'{folder / NAMES['image']}': the SHA-256 is "
    with pytest.raises(ValueError, match=message):
        load(tmp_path)
