import csv
import io
import re
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ImageStat import Stat
from torch import Tensor

from pyg_ckd.datasets.catalogue import Catalogue
from pyg_ckd.datasets.image_encoder import ImageEncoder
from pyg_ckd.datasets.text_encoder import TextEncoder
from pyg_ckd.graph import RATED_BY, RATES

LABELS = ('train', 'validation', 'test')
COLOURS = {'cup': (255, 0, 0), 'pot': (0, 255, 0), 'mug': (0, 0, 255)}
SALES = """user,item,stars,when
bob,cup,5,30
ann,cup,4,10
ann,pot,3.5,20
ann,mug,2,30
bob,mug,1,10
bob,jar,4,20
"""
ITEMS = """item,title,brand,photo
jar,,,none
cup,A red  cup,Acme,p1
lid,A lid,,p4
mug,,Acme,p3.png
pot,A pot,,p2
"""


class MeanColour:
    """Encodes a picture by the mean of each colour, from 0 to `scale`."""

    def __init__(self, scale: int = 1) -> None:
        self.scale = scale
        self.num_encoded = 0

    def __call__(self, images: list[Image.Image]) -> Tensor:
        self.num_encoded += len(images)
        assert all(image.mode == 'RGB' for image in images)
        means = torch.tensor([Stat(image).mean for image in images])
        return means / 255 * self.scale

    def __repr__(self) -> str:
        return f'MeanColour({self.scale})'


class BagOfWords:
    """Encodes a text by how many of its words have each hash."""

    def __init__(self, dim: int = 16) -> None:
        self.dim = dim
        self.num_encoded = 0

    def __call__(self, texts: list[str]) -> Tensor:
        self.num_encoded += len(texts)
        x = torch.zeros(len(texts), self.dim)
        for row, text in enumerate(texts):
            for word in text.split():
                x[row, zlib.crc32(word.encode()) % self.dim] += 1
        return x

    def __repr__(self) -> str:
        return f'BagOfWords({self.dim})'


def bag(text: str) -> list[float]:
    return BagOfWords()([text])[0].tolist()


def picture(colour: tuple[int, ...], kind: str = 'PNG') -> bytes:
    file = io.BytesIO()
    Image.new('RGB', (3, 2), colour).save(file, kind)
    return file.getvalue()


def write(root: Path, **contents: str | bytes) -> None:
    """Write `sales.csv` from `sales`, and so on."""
    for name, content in contents.items():
        content = content.encode() if isinstance(content, str) else content
        (root / f'{name}.csv').write_bytes(content)


def write_files(
    root: Path, files: dict[str, bytes], archive: bool = False
) -> Path:
    """Write files into the folder `files`, or the archive `files.zip`."""
    if archive:
        with zipfile.ZipFile(root / 'files.zip', 'w') as file:
            for name, content in files.items():
                file.writestr(name, content)
        return root / 'files.zip'
    for name, content in files.items():
        path = root / 'files' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root / 'files'


def npy(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array, dtype=np.float32))
    return file.getvalue()


def open_catalogue(root: Path, **kwargs: object) -> Catalogue:
    """Open `sales.csv`, and `items.csv` if it exists, without a core."""
    items = root / 'items.csv'
    options = {
        'items': items if items.exists() else None,
        'k_core': 1,
        'split': 'random' if 'time_column' not in kwargs else 'leave_one_out',
        'text_encoder': BagOfWords(),
        'image_encoder': MeanColour(),
    }
    sales = root / 'sales.csv'
    return Catalogue(root / 'saved', sales, **{**options, **kwargs})


def error_of(root: Path, **kwargs: object) -> str:
    """Return the error of a catalogue, which has to leave nothing behind."""
    with pytest.raises((ValueError, FileNotFoundError)) as info:
        open_catalogue(root, **kwargs)
    assert leftovers(root) == []
    return str(info.value)


def leftovers(root: Path) -> list[str]:
    """Return the files of results, except locks and whole features."""
    saved = (root / 'saved').rglob('*')
    names = [path.name for path in saved if path.is_file()]
    whole = re.compile(r'.*\.lock|(text|image)_[0-9a-f]{16}\.\w{2,3}')
    return [name for name in names if not whole.fullmatch(name)]


def edges(dataset: Catalogue) -> list[tuple[str, str, str]]:
    """Return the user, item and split of each interaction, sorted."""
    rates = dataset[0][RATES]
    indices = (
        rates.edge_index,
        rates.val_edge_label_index,
        rates.test_edge_label_index,
    )
    return sorted(
        (dataset.users[user], dataset.items[item], label)
        for label, index in zip(LABELS, indices, strict=True)
        for user, item in index.t().tolist()
    )


@pytest.fixture
def shop(tmp_path):
    """A folder with the sales and items of a small shop."""
    # A random split needs ten interactions, so that there are thirty more:
    more = ''.join(
        f'u{i},{item},1,{i}\n' for i in range(10) for item in COLOURS
    )
    write(tmp_path, sales=SALES + more, items=ITEMS)
    return tmp_path


def test_catalogue(tmp_path):
    write(tmp_path, sales=SALES, items=ITEMS)
    folder = write_files(
        tmp_path,
        {f'{name}.png': picture(colour) for name, colour in COLOURS.items()},
    )
    dataset = open_catalogue(
        tmp_path,
        images=folder,
        rating_column='stars',
        time_column='when',
        template='{title} {brand}',
    )
    assert str(dataset) == f"Catalogue('{tmp_path / 'sales.csv'}')"
    assert len(dataset) == 1
    assert dataset.users == ['ann', 'bob']
    assert dataset.items == ['cup', 'jar', 'mug', 'pot']

    data = dataset[0]
    data.validate()
    assert data.split == 'leave_one_out, seed 0'
    assert data.node_types == ['user', 'item']
    assert data.edge_types == [RATES, RATED_BY]
    assert data['user'].num_nodes == 2
    assert data['item'].num_nodes == 4

    mean = [1 / 3, 1 / 3, 1 / 3]
    image = torch.tensor([[1, 0, 0], mean, [0, 0, 1], [0, 1, 0]])
    assert data['item'].x_image.dtype == torch.float32
    torch.testing.assert_close(data['item'].x_image, image)
    assert data['item'].has_image.tolist() == [True, False, True, True]

    texts = torch.tensor([bag('A red cup Acme'), bag('Acme'), bag('A pot')])
    text = torch.stack([texts[0], texts.mean(dim=0), texts[1], texts[2]])
    torch.testing.assert_close(data['item'].x_text, text)
    assert data['item'].has_text.tolist() == [True, False, True, True]

    rates = data[RATES]
    assert rates.edge_index.tolist() == [[0, 1], [0, 2]]
    assert rates.rating.tolist() == [4, 1]
    assert rates.time.tolist() == [10, 10]
    assert rates.val_edge_label_index.tolist() == [[0, 1], [3, 1]]
    assert rates.test_edge_label_index.tolist() == [[1, 0], [0, 2]]
    assert data[RATED_BY].edge_index.tolist() == [[0, 2], [0, 1]]


def test_catalogue_of_interactions_only(shop):
    dataset = open_catalogue(shop)
    data = dataset[0]
    assert list(data['item'].keys()) == ['num_nodes', 'name']
    assert data['user'].name == dataset.users
    assert data['item'].name == dataset.items
    assert 'rating' not in data[RATES]
    assert 'time' not in data[RATES]


@pytest.mark.parametrize('kind', ['csv', 'tsv', 'parquet'])
def test_catalogue_reads_tables(tmp_path, kind):
    sales = pd.DataFrame(
        {
            'Customer': ['007', '7', '007', '007', '7', '7'],
            'Product': ['b', 'b', 'a', 'c', 'a', 'c'],
            'Score': [5.0, 4.0, 3.5, 2.0, 1.0, 4.0],
            'Day': [f'2024-01-{day:02}' for day in (3, 1, 2, 1, 2, 3)],
        }
    )
    items = pd.DataFrame({'Product': ['b', 'a'], 'Full name': ['NA', 'A cup']})
    if kind == 'parquet':
        pytest.importorskip('pyarrow', reason='Parquet files need pyarrow')
        sales['Day'] = pd.to_datetime(sales['Day'])
        sales.to_parquet(tmp_path / 'sales.parquet')
        items.to_parquet(tmp_path / 'items.parquet')
    else:
        separator = ',' if kind == 'csv' else '\t'
        sales.to_csv(tmp_path / f'sales.{kind}', sep=separator, index=False)
        items.to_csv(tmp_path / f'items.{kind}', sep=separator, index=False)

    dataset = Catalogue(
        tmp_path / 'saved',
        tmp_path / f'sales.{kind}',
        tmp_path / f'items.{kind}',
        user_column='Customer',
        item_column='Product',
        rating_column='Score',
        time_column='Day',
        template='{Full name}',
        text_encoder=BagOfWords(),
        k_core=2,
        split='leave_one_out',
    )
    assert dataset.users == ['007', '7']
    assert dataset.items == ['a', 'b', 'c']
    assert edges(dataset) == [
        ('007', 'a', 'validation'),
        ('007', 'b', 'test'),
        ('007', 'c', 'train'),
        ('7', 'a', 'validation'),
        ('7', 'b', 'train'),
        ('7', 'c', 'test'),
    ]
    rates = dataset[0][RATES]
    assert rates.rating.tolist() == [4, 2]
    assert rates.time.tolist() == [1704067200, 1704067200]
    text = dataset[0]['item'].x_text
    assert text[:2].tolist() == [bag('A cup'), bag('NA')]
    assert dataset[0]['item'].has_text.tolist() == [True, True, False]


def core(pairs, k):
    """Remove one user or item with too few interactions at a time."""
    pairs = list(pairs)
    while True:
        users = Counter(user for user, _ in pairs)
        items = Counter(item for _, item in pairs)
        few_users = [user for user in users if users[user] < k]
        few_items = [item for item in items if items[item] < k]
        if few_users:
            pairs = [pair for pair in pairs if pair[0] != few_users[0]]
        elif few_items:
            pairs = [pair for pair in pairs if pair[1] != few_items[0]]
        else:
            return pairs


@settings(deadline=None, max_examples=40)
@given(
    pairs=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5)), unique=True, min_size=1
    ),
    k=st.integers(1, 4),
)
def test_catalogue_keeps_the_core(tmp_path_factory, pairs, k):
    root = tmp_path_factory.mktemp('core')
    pairs = [(f'u{user}', f'i{item}') for user, item in pairs]
    rows = ''.join(f'{user},{item}\n' for user, item in pairs)
    kept = core(pairs, k)
    labelled = [(*p, LABELS[i % 3]) for i, p in enumerate(kept)]
    split = ''.join(','.join(row) + '\n' for row in labelled)
    write(root, sales=f'user,item\n{rows}', split=f'user,item,split\n{split}')

    options = {'k_core': k, 'split': root / 'split.csv'}
    if len(kept) < 3:
        reason = 'leaves no interaction' if kept else "a smaller 'k_core'"
        assert reason in error_of(root, **options)
        return
    dataset = open_catalogue(root, **options)
    assert edges(dataset) == sorted(labelled)
    assert dataset.users == sorted({user for user, _ in kept})
    assert dataset.items == sorted({item for _, item in kept})


def test_catalogue_reads_texts(shop):
    dataset = open_catalogue(shop, template='{item}: {title}, by {brand}')
    x, has = dataset[0]['item'].x_text, dataset[0]['item'].get('has_text')
    # The item itself is always known, so that no text is empty:
    assert has is None
    assert x[dataset.items.index('cup')].tolist() == bag(
        'cup: A red cup, by Acme'
    )
    assert x[dataset.items.index('jar')].tolist() == bag('jar: , by')


def test_catalogue_has_no_text_of_unknown_items(shop):
    write(shop, items='item,title\npot,A pot\nmug,\n')
    dataset = open_catalogue(shop, template='A {title}')
    has = dict(zip(dataset.items, dataset[0]['item'].has_text, strict=True))
    assert has == {'cup': False, 'jar': False, 'mug': False, 'pot': True}


@pytest.mark.parametrize('archive', [False, True])
def test_catalogue_reads_pictures(shop, archive):
    images = write_files(
        shop,
        {
            'a/b/cup.PNG': picture(COLOURS['cup']),
            'pot.bmp': picture(COLOURS['pot'], 'BMP'),
            'lid.png': b'not needed, so not opened',
            'jar.txt': b'no picture',
        },
        archive,
    )
    dataset = open_catalogue(shop, images=images)
    assert dataset[0]['item'].has_image.tolist() == [True, False, False, True]
    assert dataset[0]['item'].x_image[[0, 3]].tolist() == [[1, 0, 0], [0, 1, 0]]


def test_catalogue_reads_jpegs(shop):
    images = write_files(
        shop,
        {f'{n}.jpeg': picture(c, 'JPEG') for n, c in COLOURS.items()},
    )
    x = open_catalogue(shop, images=images)[0]['item'].x_image
    expected = torch.eye(3)[[0, 2, 1]]
    torch.testing.assert_close(x[[0, 2, 3]], expected, atol=0.02, rtol=0)


def test_catalogue_reads_names_of_pictures(shop):
    images = write_files(
        shop,
        {
            'p1.png': picture(COLOURS['cup']),
            'p2.png': picture(COLOURS['pot']),
            'deep/p3.png': picture(COLOURS['mug']),
            'jar.png': picture((9, 9, 9)),
        },
    )
    dataset = open_catalogue(shop, images=images, image_column='photo')
    data = dataset[0]
    assert dataset.items == ['cup', 'jar', 'mug', 'pot']
    assert data['item'].has_image.tolist() == [True, False, True, True]
    assert data['item'].x_image[[0, 2, 3]].tolist() == [
        [1, 0, 0],
        [0, 0, 1],
        [0, 1, 0],
    ]


def test_catalogue_shares_pictures(shop):
    write(shop, items='item,photo\ncup,p.png\nmug,p\npot,\n')
    images = write_files(shop, {'p.png': picture((255, 255, 0))})
    data = open_catalogue(shop, images=images, image_column='photo')[0]
    assert data['item'].has_image.tolist() == [True, False, True, False]
    assert data['item'].x_image.tolist() == [[1, 1, 0]] * 4


def bomb() -> bytes:
    """Return a tiny picture whose header promises 400 million pixels."""
    content = bytearray(picture(COLOURS['pot'], 'PNG'))
    content[16:24] = (20_000).to_bytes(4, 'big') * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, 'big')
    return bytes(content)


@pytest.mark.parametrize('archive', [False, True])
@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'', 'cannot identify'),
        (b'no picture', 'cannot identify'),
        (bomb(), 'decompression bomb'),
    ],
    ids=['empty', 'text', 'bomb'],
)
def test_catalogue_refuses_damaged_pictures(shop, content, expected, archive):
    images = write_files(
        shop, {'cup.png': picture(COLOURS['cup']), 'pot.png': content}, archive
    )
    error = error_of(shop, images=images)
    assert re.search(
        f"files.*pot.png' is not a whole picture .*{expected}", error
    )
    assert 'skip_invalid=True' in error

    with pytest.warns(UserWarning, match=r'1 pictures skipped, .*pot.png'):
        dataset = open_catalogue(shop, images=images, skip_invalid=True)
    assert dataset[0]['item'].has_image.tolist() == [True, False, False, False]


def test_catalogue_refuses_damaged_archives(shop):
    images = write_files(shop, {'cup.png': picture(COLOURS['cup'])}, True)
    images.write_bytes(images.read_bytes()[:-9])
    assert "files.zip' is neither a folder" in error_of(shop, images=images)


@pytest.mark.parametrize('archive', [False, True])
def test_catalogue_reads_vectors(shop, archive):
    files = write_files(
        shop, {'cup.npy': npy([1, 2]), 'deep/pot.npy': npy([3, 6])}, archive
    )
    np.save(shop / 'all.npy', np.arange(10.0).reshape(5, 2))
    dataset = open_catalogue(
        shop, features={'video': shop / 'all.npy', 'audio': files}
    )
    item = dataset[0]['item']
    assert [key for key in item if key.startswith('x_')] == [
        'x_audio',
        'x_video',
    ]
    assert item.x_audio.tolist() == [[1, 2], [2, 4], [2, 4], [3, 6]]
    assert item.has_audio.tolist() == [True, False, False, True]
    # Rows are in the order of the table of items:
    assert item.x_video.tolist() == [[2, 3], [0, 1], [6, 7], [8, 9]]
    assert 'has_video' not in item


@pytest.mark.parametrize(
    ('matrix', 'expected'),
    [
        (np.ones((4, 2)), "all.npy' has 4 rows, expected 5"),
        (np.ones(5), "all.npy' needs to hold one array of shape"),
        (
            np.full((5, 2), np.nan),
            "all.npy', row 1 .*of item 'cup': not finite",
        ),
        (np.array([['a'] * 2] * 5), "all.npy' holds '<U1'"),
        (np.array([[None]] * 5), "all.npy' is not a complete"),
    ],
)
def test_catalogue_refuses_matrices(shop, matrix, expected):
    np.save(shop / 'all.npy', matrix, allow_pickle=True)
    error = error_of(shop, features={'audio': shop / 'all.npy'})
    assert re.search(expected, error)


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (npy([[1, 2]]), "cup.npy' needs to hold one array of shape"),
        (npy([1, np.nan]), "cup.npy' is not finite"),
        (npy([1, 2, 3]), "'.*npy' has [23] numbers, but '.*npy' has [23]"),
        (npy([1, 2])[:-1], "cup.npy' is not a complete"),
    ],
)
def test_catalogue_refuses_vectors(shop, content, expected):
    files = write_files(shop, {'cup.npy': content, 'pot.npy': npy([3, 6])})
    error = error_of(shop, features={'audio': files})
    assert re.search(expected, error)


def test_catalogue_skips_repeated_rows_of_items(shop):
    twice = ITEMS + 'pot,Another pot,,\n,Nothing,,\n'
    write(shop, items=twice)
    np.save(shop / 'all.npy', np.arange(7.0).reshape(7, 1))
    options = {'template': '{title}', 'features': {'audio': shop / 'all.npy'}}
    assert "items.csv', row 6 below the header" in error_of(shop, **options)

    with pytest.warns(UserWarning, match=r"items.csv': 2 invalid rows skipped"):
        dataset = open_catalogue(shop, skip_invalid=True, **options)
    item = dataset[0]['item']
    assert item.x_text[3].tolist() == bag('A pot')
    assert item.x_audio.view(-1).tolist() == [1, 0, 3, 4]


@pytest.mark.parametrize(
    ('rows', 'options', 'expected'),
    [
        (',cup,1,1', {}, "user is '', expected an id"),
        ('eve,,1,1', {}, "item is '', expected an id"),
        ('ann,cup,1,1', {}, "item is 'cup', expected an item that this user"),
        ('eve,cup,x,1', {'rating_column': 'stars'}, "stars is 'x'"),
        ('eve,cup,1,x', {'time_column': 'when'}, "when is 'x'"),
    ],
)
def test_catalogue_refuses_rows(tmp_path, rows, options, expected):
    write(tmp_path, sales=f'{SALES}{rows}\n')
    error = error_of(tmp_path, **options)
    assert f"sales.csv', row 7 below the header: {expected}" in error

    options = {'time_column': 'when', **options, 'skip_invalid': True}
    with pytest.warns(UserWarning, match=r"sales.csv': 1 invalid row skipped"):
        skipped = open_catalogue(tmp_path, **options)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        write(tmp_path, sales=SALES)
        assert edges(open_catalogue(tmp_path, **options)) == edges(skipped)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'k_core': 0}, "'k_core' needs to be at least 1 (got 0)"),
        ({'k_core': 12}, 'no user and item have 12 interactions'),
        ({'split': 'best'}, "(got 'best')"),
        ({'split': 'time'}, 'needs the time of each interaction'),
        ({'user_column': 'who'}, "no column 'who' (it has 'user', 'item', 's"),
        (
            {'item_column': 'what'},
            "no column 'what' (it has 'user', 'item', 's",
        ),
        ({'template': '{name}'}, "items.csv' has no column 'name' (it has 'it"),
        ({'template': 'text'}, 'A template needs fields in braces'),
        ({'template': ''}, 'A template needs fields in braces'),
        (
            {'template': '{title}', 'items': None},
            "'template' needs 'items' (got '{title}')",
        ),
        (
            {'image_column': 'photo', 'items': None},
            "'image_column' needs 'items' (got 'photo')",
        ),
        ({'image_column': 'photo'}, "'image_column' needs 'images'"),
        (
            {'features': {'audio': 'all.NPY'}, 'items': None},
            "'features' needs 'items' (got ['all.NPY'])",
        ),
        (
            {'features': {'text': 'all.npy'}},
            "the modality 'text', which is that of texts or pictures",
        ),
        (
            {'features': {'my audio': 'all.npy'}},
            "the modality 'my audio', which is not an identifier",
        ),
        (
            {'features': {'forward': 'all.npy'}},
            "the modality 'forward', which is reserved by PyTorch",
        ),
        ({'features': {'audio': 'no/folder'}}, "There is no 'no/folder'"),
        ({'images': 'no/folder'}, "There is no 'no/folder'"),
        ({'items': 'no/items.csv'}, "There is no 'no/items.csv'"),
    ],
)
def test_catalogue_refuses_arguments(shop, options, expected):
    assert expected in error_of(shop, **options)


@pytest.mark.parametrize(
    'options', [{'k_core': 0}, {'template': 'text'}, {'image_column': 'a'}]
)
def test_catalogue_checks_arguments_before_files(tmp_path, options):
    with pytest.raises(ValueError, match=r'k_core|template|image_column'):
        Catalogue(tmp_path, 'no/sales.csv', 'no/items.csv', **options)


def test_catalogue_names_missing_columns_of_pictures(shop):
    images = write_files(shop, {'cup.png': picture(COLOURS['cup'])})
    error = error_of(shop, images=images, image_column='file')
    assert "items.csv' has no column 'file'" in error


def test_catalogue_refuses_missing_sales(tmp_path):
    assert "sales.csv'" in error_of(tmp_path)


def test_catalogue_refuses_modalities_without_items(shop):
    write(shop, items='item,title\ntea,Tea\n')
    assert "No item has the modality 'text'" in error_of(
        shop, template='{title}'
    )
    files = write_files(shop, {'tea.npy': npy([1]), 'tea.png': b''})
    error = error_of(shop, features={'audio': files})
    assert "No item has the modality 'audio'" in error
    error = error_of(shop, images=files)
    assert "No item has the modality 'image'" in error


@pytest.mark.parametrize('split', ['random', 'mmrec', 'lattice'])
def test_catalogue_splits_at_random(shop, split):
    first = edges(open_catalogue(shop, split=split))
    assert {label for _, _, label in first} == set(LABELS)
    assert edges(open_catalogue(shop, split=split)) == first
    assert edges(open_catalogue(shop, split=split, seed=1)) != first


@pytest.mark.parametrize('split', ['time', 'leave_one_out'])
def test_catalogue_splits_by_time(tmp_path, split):
    # Both the order of the rows and that of the texts are another one.
    days = [f'ann,i{day},2024-{day:02}-01\n' for day in (12, *range(1, 12))]
    write(tmp_path, sales=f'user,item,day\n{"".join(days)}')
    dataset = open_catalogue(tmp_path, split=split, time_column='day')
    label = {item: label for _, item, label in edges(dataset)}
    assert label.pop('i12') == 'test'
    assert label.pop('i11') == 'validation'
    assert set(label.values()) == {'train'}


def test_catalogue_sees_a_changed_split(tmp_path):
    write(tmp_path, sales='user,item\n' + 'ann,a\nann,b\nann,c\n')
    path = tmp_path / 'split.csv'
    for labels in (LABELS, LABELS[::-1], ('test', 'train', 'validation')):
        rows = [
            f'ann,{item},{label}\n'
            for item, label in zip('abc', labels, strict=True)
        ]
        path.write_text('user,item,split\n' + ''.join(rows) + '\n' * len(rows))
        dataset = open_catalogue(tmp_path, split=path)
        assert [label for _, _, label in edges(dataset)] == list(labels)


def test_catalogue_encodes_contents_once(shop):
    images = write_files(
        shop, {f'{name}.png': picture(c) for name, c in COLOURS.items()}
    )

    def num_encoded(
        dim: int = 16, scale: int = 1, **kwargs: object
    ) -> tuple[int, int]:
        text, image = BagOfWords(dim), MeanColour(scale)
        dataset = open_catalogue(
            shop,
            images=images,
            **{'template': '{title}', **kwargs},
            text_encoder=text,
            image_encoder=image,
        )
        x = dataset[0]['item']
        assert x.x_text[0].equal(BagOfWords(dim)([texts['cup']])[0])
        assert x.x_image[0].equal(torch.tensor(colours['cup']) / 255 * scale)
        return text.num_encoded, image.num_encoded

    texts, colours = {'cup': 'A red cup'}, dict(COLOURS)
    assert num_encoded() == (2, 3)
    # The graph itself is found again:
    assert num_encoded() == (0, 0)
    # Another graph of the same contents:
    assert num_encoded(seed=1) == (0, 0)
    assert num_encoded(force_reload=True) == (0, 0)
    (images / 'lid.png').write_bytes(picture((1, 2, 3)))
    assert num_encoded() == (0, 0)
    # Other contents, or another encoder:
    (images / 'cup.png').write_bytes(picture((51, 0, 0)))
    colours['cup'] = (51, 0, 0)
    assert num_encoded() == (0, 3)
    write(shop, items=ITEMS.replace('A red  cup', 'A blue cup'))
    texts['cup'] = 'A blue cup'
    assert num_encoded() == (2, 0)
    assert num_encoded(dim=8) == (2, 0)
    assert num_encoded(scale=2) == (0, 3)
    texts['cup'] = 'Acme'
    assert num_encoded(template='{brand}') == (2, 0)


class Broken:
    """Returns what it is given, whatever the contents."""

    def __init__(self, x: object) -> None:
        self.x = x

    def __call__(self, contents: list[object]) -> object:
        return self.x(len(contents))

    def __repr__(self) -> str:
        return 'Broken()'


@pytest.mark.parametrize(
    ('x', 'expected'),
    [
        (lambda n: torch.ones(n), 'needs to return a tensor or NumPy array of'),
        (
            lambda n: torch.ones(n + 1, 2),
            'needs to return a tensor or NumPy array of',
        ),
        (
            lambda n: [[1.0, 2.0]] * n,
            'needs to return a tensor or NumPy array of',
        ),
        (lambda n: torch.full((n, 2), torch.nan), 'returned NaN or infinity'),
        (lambda n: torch.full((n, 2), torch.inf), 'returned NaN or infinity'),
    ],
)
def test_catalogue_refuses_what_encoders_return(shop, x, expected):
    images = write_files(shop, {'cup.png': picture(COLOURS['cup'])})
    error = error_of(shop, template='{title}', text_encoder=Broken(x))
    assert f"The encoder of 'text' {expected}" in error
    error = error_of(shop, images=images, image_encoder=Broken(x))
    assert f"The encoder of 'image' {expected}" in error


def test_catalogue_saves_nothing_if_an_encoder_fails(shop):
    def fail(num: int) -> Tensor:
        raise RuntimeError('out of memory')

    images = write_files(shop, {'cup.png': picture(COLOURS['cup'])})
    with pytest.raises(RuntimeError, match='out of memory'):
        open_catalogue(
            shop,
            images=images,
            template='{title}',
            text_encoder=Broken(fail),
        )
    assert leftovers(shop) == []
    # What has been encoded before the failure is kept:
    encoder = MeanColour()
    open_catalogue(
        shop, images=images, template='{title}', image_encoder=encoder
    )
    assert encoder.num_encoded == 0


def test_catalogue_names_models(shop):
    dataset = open_catalogue(
        shop, text_encoder='model/of/texts', image_encoder='model/of/images'
    )
    assert isinstance(dataset.text_encoder, TextEncoder)
    assert isinstance(dataset.image_encoder, ImageEncoder)
    assert dataset.text_encoder.model == 'model/of/texts'
    assert dataset.image_encoder.model == 'model/of/images'


def test_catalogue_expands_the_home_directory(shop, monkeypatch):
    monkeypatch.setenv('HOME', str(shop))
    dataset = Catalogue(
        '~/saved', '~/sales.csv', '~/items.csv', k_core=1, split='random'
    )
    assert (shop / 'saved').is_dir()
    assert dataset.items == ['cup', 'jar', 'mug', 'pot']


@pytest.mark.parametrize('k_core', [1, 2])
def test_catalogue_naive(tmp_path, k_core):
    """Compare all of a random catalogue to a plain recomputation."""
    rng = np.random.default_rng(0)
    users = [f'{i:03}' for i in range(12)]
    items = [str(i) for i in range(15)]
    pairs = [(u, i) for u in users for i in items if rng.random() < 0.25]
    rng.shuffle(pairs)
    sales = [
        (u, i, f'{rng.integers(1, 6)}', f'{rng.integers(1000)}')
        for u, i in pairs
    ]
    titles = {i: ' '.join(rng.choice(['red', 'hot', ''], 2)) for i in items[2:]}
    colours = {i: tuple(rng.integers(256, size=3).tolist()) for i in items[:9]}
    with open(tmp_path / 'sales.csv', 'w', newline='') as file:
        csv.writer(file).writerows([('user', 'item', 'stars', 'when'), *sales])
    with open(tmp_path / 'items.csv', 'w', newline='') as file:
        csv.writer(file).writerows([('item', 'title'), *titles.items()])
    images = write_files(
        tmp_path, {f'{i}.png': picture(c) for i, c in colours.items()}, True
    )

    dataset = open_catalogue(
        tmp_path,
        images=images,
        template='{title}',
        rating_column='stars',
        time_column='when',
        k_core=k_core,
    )
    data = dataset[0]

    kept = set(core([row[:2] for row in sales], k_core))
    sales = [row for row in sales if row[:2] in kept]
    expected = []
    for user in users:
        own = [row for row in sales if row[0] == user]
        own.sort(key=lambda row: int(row[3]))  # Stable, as the file.
        held_out = ['validation', 'test'] if len(own) > 2 else []
        labels = ['train'] * (len(own) - len(held_out)) + held_out
        expected += [
            (*row, label) for row, label in zip(own, labels, strict=True)
        ]
    assert edges(dataset) == sorted(
        (user, item, label) for user, item, _, _, label in expected
    )
    rates = data[RATES]
    rated = zip(
        *rates.edge_index.tolist(),
        rates.rating.tolist(),
        rates.time.tolist(),
        strict=True,
    )
    assert {
        (dataset.users[user], dataset.items[item], rating, time)
        for user, item, rating, time in rated
    } == {
        (user, item, float(stars), int(when))
        for user, item, stars, when, label in expected
        if label == 'train'
    }

    text = [titles.get(item, '').strip() for item in dataset.items]
    known = torch.tensor([bag(t) for t in text if t])
    assert data['item'].has_text.tolist() == [bool(t) for t in text]
    for x, t in zip(data['item'].x_text, text, strict=True):
        row = torch.tensor(bag(t)) if t else known.mean(dim=0)
        torch.testing.assert_close(x, row)

    colour = [colours.get(item) for item in dataset.items]
    known = torch.tensor([c for c in colour if c]) / 255
    assert data['item'].has_image.tolist() == [bool(c) for c in colour]
    for x, c in zip(data['item'].x_image, colour, strict=True):
        row = torch.tensor(c) / 255 if c else known.mean(dim=0)
        torch.testing.assert_close(x, row)


def test_catalogue_of_films(tmp_path, shared):
    """Real posters, titles and plots, named by ids of their own."""
    folder = shared / 'data' / 'ml-1m-posters'
    if not folder.is_dir():
        pytest.skip("needs the folder 'ml-1m-posters' in 'shared/data'")
    histories = (folder / 'interactions_by_user_in_time_order.txt').open()
    with histories, open(tmp_path / 'sales.csv', 'w') as file:
        print('user,itemID,position', file=file)
        for _, line in zip(range(200), histories, strict=False):
            user, *items = line.split()
            for position, item in enumerate(items):
                print(user, item, position, sep=',', file=file)

    dataset = open_catalogue(
        tmp_path,
        items=folder / 'items.tsv',
        images=folder / 'posters_128x192.zip',
        item_column='itemID',
        time_column='position',
        image_column='movielens_id',
        template='{title}. {genres}. {plot}',
        k_core=5,
        text_encoder=BagOfWords(64),
    )
    data = dataset[0]
    data.validate()

    films = pd.read_csv(folder / 'items.tsv', sep='\t', dtype=str)
    films = films.set_index('itemID').loc[dataset.items]
    with zipfile.ZipFile(folder / 'posters_128x192.zip') as file:
        posters = {name.removesuffix('.jpg') for name in file.namelist()}
        first = int(films['movielens_id'].isin(posters).argmax())
        name = f'{films["movielens_id"].iloc[first]}.jpg'
        image = np.asarray(Image.open(file.open(name)).convert('RGB'))

    item = data['item']
    assert item.x_image.shape == (len(dataset.items), 3)
    assert item.x_text.shape == (len(dataset.items), 64)
    has_poster = films['has_poster'] == '1'
    assert item.has_image.tolist() == has_poster.tolist()
    assert 0 < has_poster.sum() < len(films)
    assert 'has_text' not in item  # Each film has at least a title.
    torch.testing.assert_close(
        item.x_image[first].double(),
        torch.from_numpy(image.mean(axis=(0, 1)) / 255),
        atol=1e-6,
        rtol=0,
    )
    film = films.iloc[7].fillna('')
    text = f'{film["title"]}. {film["genres"]}. {film["plot"]}'
    assert item.x_text[7].tolist() == BagOfWords(64)([text])[0].tolist()

    counts = Counter(user for user, _, _ in edges(dataset))
    assert len(counts) == len(dataset.users)
    assert min(counts.values()) >= 5
    assert data[RATES].val_edge_label_index.size(1) == len(dataset.users)
