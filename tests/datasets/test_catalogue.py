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

from pyg_ckd.datasets import LATTICESplit, MMRecSplit, RandomSplit
from pyg_ckd.datasets.catalogue import Catalogue
from pyg_ckd.datasets.features.image_encoder import ImageEncoder
from pyg_ckd.datasets.features.new_items import NewItems
from pyg_ckd.datasets.features.text_encoder import TextEncoder
from pyg_ckd.datasets.interaction_table import InteractionTable
from pyg_ckd.datasets.item_table import ItemTable
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.graph import RATED_BY, RATES, check
from pyg_ckd.nn import VBPR
from pyg_ckd.serving import Served, with_new_items

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
    """Open `sales.csv`, and `items.csv` if it exists, without a core.

    Columns are those of the tables, `item` of both.
    """
    path = root / 'items.csv'
    source = kwargs.pop('items', path if path.exists() else None)
    columns = {
        name: {key: kwargs[key] for key in keys if key in kwargs}
        for name, keys in {
            'sales': ('user', 'item', 'rating', 'time'),
            'items': ('item', 'title', 'text', 'image'),
        }.items()
    }
    items = None if source is None else ItemTable(source, **columns['items'])
    options = {
        'items': items,
        'k_core': 1,
        'split': 'leave_one_out' if 'time' in kwargs else 'random',
        'text_encoder': BagOfWords(),
        'image_encoder': MeanColour(),
    }
    known = {key for keys in columns.values() for key in keys}
    rest = {key: value for key, value in kwargs.items() if key not in known}
    sales = root / 'sales.csv'
    table = InteractionTable(sales, **columns['sales'])
    return Catalogue(root / 'saved', table, **{**options, **rest})


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
    whole = re.compile(r'.*\.lock|[0-9a-f]{16}\.npy')
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
        rating='stars',
        time='when',
        text='{title} {brand}',
    )
    assert str(dataset) == f"Catalogue('{tmp_path / 'sales.csv'}')"
    assert len(dataset) == 1
    assert dataset.users == ['ann', 'bob']
    assert dataset.items == ['cup', 'jar', 'mug', 'pot']

    data = dataset[0]
    data.validate()
    assert data.split == 'LeaveOneOut()'
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
        InteractionTable(
            tmp_path / f'sales.{kind}',
            user='Customer',
            item='Product',
            rating='Score',
            time='Day',
        ),
        ItemTable(
            tmp_path / f'items.{kind}', item='Product', text='{Full name}'
        ),
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
    dataset = open_catalogue(shop, text='{item}: {title}, by {brand}')
    x, has = dataset[0]['item'].x_text, dataset[0]['item'].get('has_text')
    # The item itself is always known, so that no text is empty:
    assert has is None
    assert x[dataset.items.index('cup')].tolist() == bag(
        'cup: A red cup, by Acme'
    )
    assert x[dataset.items.index('jar')].tolist() == bag('jar: , by')


def test_catalogue_has_no_text_of_unknown_items(shop):
    write(shop, items='item,title\npot,A pot\nmug,\n')
    dataset = open_catalogue(shop, text='A {title}')
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
    dataset = open_catalogue(shop, images=images, image='photo')
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
    data = open_catalogue(shop, images=images, image='photo')[0]
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
        (b'', 'is not a whole picture .*none of JPEG'),
        (b'no picture', 'is not a whole picture .*none of JPEG'),
        (bomb(), r'may be a decompression bomb.*Limits\(pixels='),
    ],
    ids=['empty', 'text', 'bomb'],
)
def test_catalogue_refuses_damaged_pictures(shop, content, expected, archive):
    images = write_files(
        shop, {'cup.png': picture(COLOURS['cup']), 'pot.png': content}, archive
    )
    error = error_of(shop, images=images)
    assert re.search(f"files.*pot.png' {expected}", error)
    assert 'skip_invalid=True' in error

    with pytest.warns(UserWarning, match=r'1 pictures skipped, .*pot.png'):
        dataset = open_catalogue(shop, images=images, skip_invalid=True)
    assert dataset[0]['item'].has_image.tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ('limits', 'expected'),
    [
        (Limits(line=15), "sales.csv' has more than 15 bytes in line 1"),
        (Limits(columns=3), "sales.csv' has more than 3 columns in line 1"),
        (Limits(pixels=5), "cup.png' may be .* 3 x 2 pixels, more than 5"),
        (Limits(file=50), r"cup.png' has \d+ bytes, more than 50"),
    ],
)
def test_limits_of_a_catalogue(shop, limits, expected):
    images = write_files(shop, {'cup.png': picture(COLOURS['cup'])})
    assert re.search(expected, error_of(shop, images=images, limits=limits))
    assert open_catalogue(shop, images=images).limits == Limits()


def test_limits_of_skipped_pictures_belong_to_a_result(shop):
    """What was too large for other limits is not missing for ever."""
    files = {'cup.png': picture(COLOURS['cup'])}
    size = len(files['cup.png'])
    options = {
        'images': write_files(shop, {**files, 'pot.png': bomb() + bytes(999)}),
        'features': {},
        'skip_invalid': True,
    }
    found = []
    for limits in (Limits(file=size), Limits(), Limits(file=size)):
        with pytest.warns(UserWarning, match='1 pictures skipped'):
            open_catalogue(shop, limits=limits, force_reload=True, **options)
        folders = {path.parent.name for path in shop.rglob('data.pt')}
        found.append(len(folders))
    assert found == [1, 2, 2]


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
        (npy([1, np.nan]), "cup.npy': not finite"),
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
    options = {'text': '{title}', 'features': {'audio': shop / 'all.npy'}}
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
        ('eve,cup,x,1', {'rating': 'stars'}, "stars is 'x'"),
        ('eve,cup,1,x', {'time': 'when'}, "when is 'x'"),
    ],
)
def test_catalogue_refuses_rows(tmp_path, rows, options, expected):
    write(tmp_path, sales=f'{SALES}{rows}\n')
    error = error_of(tmp_path, **options)
    assert f"sales.csv', row 7 below the header: {expected}" in error

    options = {'time': 'when', **options, 'skip_invalid': True}
    with pytest.warns(UserWarning, match=r"sales.csv': 1 invalid row skipped"):
        skipped = open_catalogue(tmp_path, **options)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        write(tmp_path, sales=SALES)
        assert edges(open_catalogue(tmp_path, **options)) == edges(skipped)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'k_core': 0}, "at least 1, in 'Catalogue' (got 0)"),
        ({'k_core': 12}, 'no user and item have 12 interactions'),
        ({'split': 'best'}, "(got 'best')"),
        ({'split': 'time'}, 'needs the time of each interaction'),
        ({'user': 'who'}, "no column 'who' (it has 'user', 'item', 's"),
        (
            {'item': 'what'},
            "no column 'what' (it has 'user', 'item', 's",
        ),
        ({'text': '{name}'}, "items.csv' has no column 'name' (it has 'it"),
        ({'text': 'text'}, 'A template needs fields in braces'),
        ({'text': ''}, 'A template needs fields in braces'),
        ({'title': 'name'}, "items.csv' has no column 'name'"),
        ({'image': 'photo'}, "'image' of 'items' needs 'images'"),
        ({'cold_items': True, 'items': None}, "'cold_items' needs 'items'"),
        (
            {'features': {'audio': 'all.NPY'}, 'items': None},
            "'features' needs 'items' (got ['all.NPY'])",
        ),
        (
            {'features': {'text': 'all.npy'}, 'text': '{title}'},
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
    ('items', 'options'),
    [({}, {'k_core': 0}), ({'text': 'text'}, {}), ({'image': 'a'}, {})],
)
def test_catalogue_checks_arguments_before_files(tmp_path, items, options):
    with pytest.raises(ValueError, match=r'k_core|template|image'):
        table = ItemTable('no/items.csv', **items)
        Catalogue(tmp_path, 'no/sales.csv', table, **options)


def test_catalogue_names_missing_columns_of_pictures(shop):
    images = write_files(shop, {'cup.png': picture(COLOURS['cup'])})
    error = error_of(shop, images=images, image='file')
    assert "items.csv' has no column 'file'" in error


def test_catalogue_refuses_missing_sales(tmp_path):
    assert "sales.csv'" in error_of(tmp_path)


def test_catalogue_refuses_modalities_without_items(shop):
    write(shop, items='item,title\ncup,\ntea,Tea\n')
    with pytest.warns(UserWarning, match='3 of 4 sold items have no row'):
        error = error_of(shop, text='{title}')
    assert "No item has the modality 'text'" in error
    write(shop, items=ITEMS)
    files = write_files(shop, {'tea.npy': npy([1]), 'tea.png': b''})
    error = error_of(shop, features={'audio': files})
    assert "No item has the modality 'audio'" in error
    error = error_of(shop, images=files)
    assert "No item has the modality 'image'" in error


@pytest.mark.parametrize('split', [RandomSplit, MMRecSplit, LATTICESplit])
def test_catalogue_splits_at_random(shop, split):
    first = edges(open_catalogue(shop, split=split()))
    assert {label for _, _, label in first} == set(LABELS)
    assert edges(open_catalogue(shop, split=split())) == first
    assert edges(open_catalogue(shop, split=split(seed=1))) != first


@pytest.mark.parametrize('split', ['time', 'leave_one_out'])
def test_catalogue_splits_by_time(tmp_path, split):
    # Both the order of the rows and that of the texts are another one.
    days = [f'ann,i{day},2024-{day:02}-01\n' for day in (12, *range(1, 12))]
    write(tmp_path, sales=f'user,item,day\n{"".join(days)}')
    dataset = open_catalogue(tmp_path, split=split, time='day')
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
            **{'text': '{title}', **kwargs},
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
    assert num_encoded(split=MMRecSplit(seed=1)) == (0, 0)
    assert num_encoded(force_reload=True) == (0, 0)
    (images / 'lid.png').write_bytes(picture((1, 2, 3)))
    assert num_encoded() == (0, 0)
    # Other contents, those that have changed:
    (images / 'cup.png').write_bytes(picture((51, 0, 0)))
    colours['cup'] = (51, 0, 0)
    assert num_encoded() == (0, 1)
    write(shop, items=ITEMS.replace('A red  cup', 'A blue cup'))
    texts['cup'] = 'A blue cup'
    assert num_encoded() == (1, 0)
    # Another encoder, or other texts:
    assert num_encoded(dim=8) == (2, 0)
    assert num_encoded(scale=2) == (0, 3)
    texts['cup'] = 'Acme'
    assert num_encoded(text='{brand}') == (1, 0)


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
    error = error_of(shop, text='{title}', text_encoder=Broken(x))
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
            text='{title}',
            text_encoder=Broken(fail),
        )
    assert leftovers(shop) == []
    # What has been encoded before the failure is kept:
    encoder = MeanColour()
    open_catalogue(shop, images=images, text='{title}', image_encoder=encoder)
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
        text='{title}',
        rating='stars',
        time='when',
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


def messages(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(warning.message) for warning in caught]


def test_catalogue_warns_of_items_without_a_row(shop):
    upper = ITEMS.replace('cup,', 'CUP,').replace('mug,', 'Mug,')
    write(shop, items=upper.replace('jar,', 'vase,'))
    with pytest.warns(UserWarning) as caught:
        dataset = open_catalogue(shop, text='{title}')
    assert messages(caught) == [
        f"3 of 4 sold items have no row in '{shop / 'items.csv'}', such as "
        f"'cup' and 'jar', and 4 of its 5 items are none of these, such as "
        f"'CUP' and 'Mug'; 2 of them would be found in another letter case, "
        f"such as 'CUP': write ids in the same way in both tables"
    ]
    with warnings.catch_warnings():  # Once, and not if all have a row.
        warnings.simplefilter('error')
        open_catalogue(shop, text='{title}')
        assert dataset[0]['item'].has_text.tolist() == [False] * 3 + [True]
        write(shop, items=ITEMS)
        open_catalogue(shop, text='{title}')
        open_catalogue(shop, items=None)


def test_catalogue_warns_of_what_the_core_leaves_out(tmp_path):
    pairs = [(f'u{u}', f'i{i}') for u in range(6) for i in range(7)]
    rest = [('rare', 'i1'), ('rare', 'odd'), ('u1', 'odd')]
    rows = ''.join(f'{user},{item}\n' for user, item in pairs + rest)
    write(tmp_path, sales=f'user,item\n{rows}')
    with pytest.warns(UserWarning) as caught:
        dataset = open_catalogue(tmp_path, k_core=5)
    assert messages(caught) == [
        'k_core=5 leaves out 1 of 7 users and 1 of 8 items, with 3 '
        'interactions; k_core=1 keeps all'
    ]
    assert len(edges(dataset)) == len(pairs)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        open_catalogue(tmp_path, k_core=1)


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_catalogue_keeps_the_earliest_of_repeated_purchases(tmp_path, order):
    rows = [
        'ann,cup,1,2025-03-05',
        'ann,cup,2,2025-01-01',
        'ann,cup,3,2025-09-09',
    ]
    others = [f'ann,i{day},4,2025-02-{day:02}' for day in range(1, 6)]
    rows = '\n'.join([*(rows[i] for i in order), *others])
    write(tmp_path, sales=f'user,item,stars,day\n{rows}\n')
    options = {'rating': 'stars', 'skip_invalid': True}
    with pytest.warns(UserWarning, match='2 repeat a user and item'):
        dataset = open_catalogue(tmp_path, time='day', **options)
    rates = dataset[0][RATES]
    at = rates.edge_index[1] == dataset.items.index('cup')
    assert rates.time[at].tolist() == [1735689600]  # 1 January 2025
    assert rates.rating[at].tolist() == [2]

    # Without times, the first of the file.
    path = tmp_path / 'split.csv'
    named = [f'ann,{item},train\n' for item in ('cup', 'i1', 'i2', 'i3')]
    last = 'ann,i4,validation\nann,i5,test\n'
    path.write_text(f'user,item,split\n{"".join(named)}{last}')
    with pytest.warns(UserWarning, match='2 repeat a user and item'):
        dataset = open_catalogue(tmp_path, split=path, **options)
    rates = dataset[0][RATES]
    at = rates.edge_index[1] == dataset.items.index('cup')
    assert rates.rating[at].tolist() == [order[0] + 1]


class AsArray:
    """What another encoder returns, as an array of NumPy."""

    def __init__(self, encoder: object) -> None:
        self.encoder = encoder

    def __call__(self, contents: list[object]) -> np.ndarray:
        return self.encoder(contents).double().numpy()

    def __repr__(self) -> str:
        return f'AsArray({self.encoder!r})'


def test_catalogue_takes_encoders_that_return_arrays(shop):
    images = write_files(
        shop, {f'{n}.png': picture(c) for n, c in COLOURS.items()}
    )
    options = {'images': images, 'text': '{title}'}
    expected = open_catalogue(shop, **options)[0]['item']
    item = open_catalogue(
        shop,
        text_encoder=AsArray(BagOfWords()),
        image_encoder=AsArray(MeanColour()),
        **options,
    )[0]['item']
    assert item.x_text.equal(expected.x_text)
    assert item.x_image.equal(expected.x_image)
    assert item.x_image.dtype == torch.float32


def test_catalogue_has_titles(shop):
    write(
        shop,
        items=ITEMS.replace('lid,A lid', 'lid,A  lid').replace('pot,', 'Pot,'),
    )
    with pytest.warns(UserWarning, match='1 of 4 sold items has no row'):
        data = open_catalogue(shop, title='title')[0]
    # The jar and the mug have no title, the pot has no row:
    assert data['item'].title == ['A red  cup', 'jar', 'mug', 'pot']
    assert 'title' not in open_catalogue(shop)[0]['item']
    assert open_catalogue(shop, title='brand')[0]['item'].title == [
        *('Acme', 'jar', 'Acme', 'pot')
    ]
    with warnings.catch_warnings():  # As it was saved:
        warnings.simplefilter('error')
        again = open_catalogue(shop, title='title')[0]
    assert again['item'].title == data['item'].title
    check(data)


def test_catalogue_shows_titles(shop):
    images = write_files(
        shop, {f'{n}.png': picture(c) for n, c in COLOURS.items()}
    )
    data = open_catalogue(shop, images=images, title='title')[0]
    served = Served.from_model(VBPR.from_data(data, dim=4), data)
    assert served.title(served.items.find('cup')) == 'A red  cup'


@pytest.mark.parametrize('archive', [False, True])
@pytest.mark.parametrize(
    ('item', 'name'), [('thé', 'the\u0301'), ('the\u0301', 'thé')]
)
def test_catalogue_reads_files_named_on_a_mac(tmp_path, item, name, archive):
    """Accents of names may be characters of their own."""
    assert item != name
    more = ''.join(f'u{i},{item}\nu{i},pot\n' for i in range(10))
    write(
        tmp_path,
        sales=f'user,item\n{more}',
        items=f'item,photo\n{item},{item}\npot,\n',
    )
    images = write_files(
        tmp_path, {f'{name}.png': picture((255, 0, 0))}, archive
    )
    for options in ({}, {'image': 'photo'}):
        item_store = open_catalogue(tmp_path, images=images, **options)[0][
            'item'
        ]
        assert item_store.x_image.tolist() == [[1, 0, 0], [1, 0, 0]]
        assert item_store.has_image.sum() == 1


# New items ###################################################################

AWKWARD = [
    ('plain', 'A red cup', 'Acme'),
    ('lines', 'A red\r\ncup\n\nof clay', 'Ac  me'),
    ('blanks', '  A  red   cup\t', ' '),
    ('title', 'Mug, "big"; {brand}', ''),
    ('brand', '', 'Acme'),
    ('none', '', '  \n'),
]


def table(rows: list[tuple[str, ...]], *header: str) -> str:
    file = io.StringIO()
    csv.writer(file).writerows([header, *rows])
    return file.getvalue()


@pytest.mark.parametrize('archive', [False, True])
def test_encode_new_is_what_the_catalogue_has(tmp_path, archive):
    """The same contents have the same features to the bit."""
    old = [row for row in AWKWARD for _ in '12']
    known = [(f'old{i}', *row[1:]) for i, row in enumerate(old)]
    known[1::2] = [(name, 'Other', 'words') for name, *_ in known[1::2]]
    new = [(f'new-{name}', *row) for name, *row in AWKWARD]
    sales = [(f'u{u}', name) for u in range(3) for name, *_ in known]
    columns = ('item', 'title', 'brand')
    write(
        tmp_path,
        sales=table(sales, 'user', 'item'),
        items=table(known, *columns),
        new=table(new, *columns),
    )
    pixels = np.random.default_rng(0).integers(256, size=(5, 4, 7, 3))
    photos = {}
    for i, photo in enumerate(pixels.astype(np.uint8)):
        file = io.BytesIO()
        image = Image.fromarray(photo).convert(['RGB', 'L', 'P', 'RGBA'][i % 4])
        image.save(file, ['PNG', 'JPEG', 'GIF', 'PNG'][i % 4])
        photos[i] = file.getvalue()
    files = {f'old{2 * i}.png': content for i, content in photos.items()}
    files |= {
        f'new-{AWKWARD[i][0]}.png': content for i, content in photos.items()
    }
    images = write_files(tmp_path, files, archive)
    dataset = open_catalogue(
        tmp_path, images=images, text='{title}, {brand}: {title}'
    )
    item = dataset[0]['item']
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = dataset.encode_new(tmp_path / 'new.csv', images)

    assert isinstance(found, NewItems)
    assert found.name == [name for name, *_ in new]
    assert found.title is None
    assert sorted(found.features) == sorted(found.has) == ['image', 'text']
    assert found.has['text'].tolist() == [True] * 5 + [False]
    assert found.has['image'].tolist() == [True] * 5 + [False]
    rows = [dataset.items.index(f'old{2 * i}') for i in range(6)]
    for modality, x in found.features.items():
        assert x.dtype == torch.float32
        assert x[:5].equal(item[f'x_{modality}'][rows[:5]])
        assert item[f'has_{modality}'][rows].equal(found.has[modality])
        assert x[5].eq(0).all()
        assert len(x.unique(dim=0)) > 3


def test_encode_new_keeps_the_order_of_the_table(shop):
    write(shop, new='item,title\nz,Z\na,A\nm,M\n')
    dataset = open_catalogue(shop, text='{title}')
    new = dataset.encode_new(shop / 'new.csv')
    assert new.name == ['z', 'a', 'm']
    assert new.features['text'].equal(BagOfWords()(['Z', 'A', 'M']))
    assert new.has == {}
    with pytest.raises(AttributeError):
        new.name = []


def test_encode_new_uses_all_columns_and_modalities(shop):
    images = write_files(
        shop, {'p1.png': picture(COLOURS['cup']), 'n1.png': picture((0, 51, 0))}
    )
    (shop / 'sound').mkdir()
    np.save(shop / 'sound' / 'cup.npy', np.float32([1, 2]))
    np.save(shop / 'sound' / 'tea.npy', np.float32([5, 6]))
    np.save(shop / 'all.npy', np.arange(10.0).reshape(5, 2))
    np.save(shop / 'new.npy', np.arange(20.0, 26).reshape(3, 2))
    write(shop, new='item,title,photo\njam,Jam,n1.png\ntea,,\nham,Ham,n1\n')
    dataset = open_catalogue(
        shop,
        images=images,
        image='photo',
        title='title',
        features={'video': shop / 'all.npy', 'audio': shop / 'sound'},
    )
    # A matrix, or a folder, whatever the catalogue has:
    new = dataset.encode_new(
        shop / 'new.csv',
        images,
        {'audio': shop / 'sound', 'video': shop / 'new.npy'},
    )
    assert new.name == ['jam', 'tea', 'ham']
    assert new.title == ['Jam', 'tea', 'Ham']
    assert list(new.features) == ['image', 'audio', 'video']
    green = [0, pytest.approx(0.2), 0]
    assert new.features['image'].tolist() == [green, [0, 0, 0], green]
    assert new.features['audio'].tolist() == [[0, 0], [5, 6], [0, 0]]
    assert new.features['video'].tolist() == [[20, 21], [22, 23], [24, 25]]
    assert {m: has.tolist() for m, has in new.has.items()} == {
        'image': [True, False, True],
        'audio': [False, True, False],
    }

    data = dataset[0]
    model, grown = with_new_items(
        VBPR.from_data(data, dim=4),
        data,
        new.features,
        new.name,
        new.title,
        has=new.has,
    )
    assert grown['item'].name == dataset.items + new.name
    assert grown['item'].title[-3:] == new.title
    assert grown['item'].x_video[-3:].equal(new.features['video'])
    assert grown['item'].has_audio[-3:].tolist() == [False, True, False]
    mean = data['item'].x_audio[data['item'].has_audio].mean(dim=0)
    assert grown['item'].x_audio[-1].equal(mean)
    _, item_emb = model(grown)
    assert len(item_emb) == len(dataset.items) + 3


def test_encode_new_of_items_that_lack_a_modality(shop):
    images = write_files(shop, {'cup.png': picture(COLOURS['cup'])})
    write(shop, new='item,title\ntea,\njam,\n')
    dataset = open_catalogue(shop, images=images, text='{title}')
    with pytest.warns(UserWarning, match='No new item has') as caught:
        new = dataset.encode_new(shop / 'new.csv', images)
    assert [message.split("'")[1] for message in messages(caught)] == [
        *('image', 'text')
    ]
    # As wide as that of the others:
    assert new.features['image'].shape == (2, 3)
    assert new.features['text'].shape == (2, 16)
    assert not new.features['text'].any()
    assert not any(has.any() for has in new.has.values())


def test_encode_new_skips_invalid_rows_if_the_catalogue_does(shop):
    write(shop, new='item,title\ntea,Tea\n,Lost\ntea,Again\njam,Jam\n')
    path = shop / 'new.csv'
    with pytest.raises(ValueError, match=r"new.csv', row 2 below the header"):
        open_catalogue(shop, text='{title}').encode_new(path)
    dataset = open_catalogue(shop, text='{title}', skip_invalid=True)
    with pytest.warns(UserWarning, match='2 invalid rows .*1 repeats an item'):
        new = dataset.encode_new(path)
    assert new.name == ['tea', 'jam']
    assert new.features['text'].equal(BagOfWords()(['Tea', 'Jam']))


@pytest.mark.parametrize(
    ('new', 'options', 'expected'),
    [
        (
            'item,title\ntea,Tea\npot,Pot\nmug,\n',
            {},
            "new.csv', row 2 below the header: item is 'pot', which is in the "
            'catalogue already, as are 2 of 3 rows; leave such rows out',
        ),
        ('item,title\n', {}, "new.csv' has no items; add a row for one"),
        ('item,name\ntea,Tea\n', {}, "new.csv' has no column 'title'"),
        (
            'item,title\ntea,Tea\n',
            {'images': None},
            "'images' needs a folder or zip archive, which may be empty: the "
            'catalogue has pictures',
        ),
        (
            'item,title\ntea,Tea\n',
            {'features': {}},
            "'features' needs those of the modalities ['audio'] for new items "
            '(got [])',
        ),
        (
            'item,title\ntea,Tea\n',
            {'features': {'video': 'a', 'audio': 'b'}},
            "for new items (got ['audio', 'video'])",
        ),
        ('item,title\ntea,Tea\n', {'images': 'no'}, "There is no 'no'"),
        (
            'item,title\ntea,Tea\n',
            {'features': {'audio': 'no.npy'}},
            "There is no 'no.npy'",
        ),
        (
            'item,title\ntea,Tea\n',
            {'features': {'audio': 'wide.npy'}},
            "New items have 3 features of 'audio', the others 2; make them in "
            'the same way',
        ),
    ],
)
def test_encode_new_refuses(shop, monkeypatch, new, options, expected):
    monkeypatch.chdir(shop)
    images = write_files(
        shop, {f'{n}.png': picture(c) for n, c in COLOURS.items()}
    )
    np.save(shop / 'all.npy', np.ones((5, 2)))
    np.save(shop / 'wide.npy', np.ones((1, 3)))
    np.save(shop / 'new.npy', np.ones((1, 2)))
    write(shop, new=new)
    dataset = open_catalogue(
        shop,
        images=images,
        features={'audio': shop / 'all.npy'},
        text='{title}',
    )
    given = {'images': images, 'features': {'audio': 'new.npy'}, **options}
    with (
        warnings.catch_warnings(),
        pytest.raises((ValueError, FileNotFoundError)) as info,
    ):
        warnings.simplefilter('ignore')
        dataset.encode_new('new.csv', **given)
    assert expected in str(info.value)


def test_encode_new_refuses_what_the_catalogue_has_not(shop):
    write(shop, new='item,title\ntea,Tea\n')
    dataset = open_catalogue(shop, text='{title}')
    with pytest.raises(ValueError, match='but the catalogue has no pictures'):
        dataset.encode_new(shop / 'new.csv', shop)
    with pytest.raises(FileNotFoundError, match=r"no file '.*other.csv'"):
        dataset.encode_new(shop / 'other.csv')


def test_encode_new_of_a_catalogue_without_a_table_of_items(shop):
    images = write_files(
        shop, {'cup.png': picture((255, 0, 0)), 'tea.png': picture((0, 255, 0))}
    )
    write(shop, new='item\ntea\n')
    dataset = open_catalogue(shop, items=None, images=images)
    new = dataset.encode_new(shop / 'new.csv', images)
    assert new.features['image'].tolist() == [[0, 1, 0]]


def test_encode_new_passes_over_files_of_others(shop):
    """One folder may hold all pictures and vectors of the shop."""
    colours = {**COLOURS, 'tea': (0, 51, 0)}
    files = {f'{n}.png': picture(c) for n, c in colours.items()}
    files |= {f'{n}.npy': npy(c) for n, c in colours.items()}
    folder = write_files(shop, files)
    write(shop, new='item\ntea\n')
    with pytest.warns(UserWarning) as caught:
        dataset = open_catalogue(shop, images=folder, features={'rgb': folder})
    assert [message.split('; ')[0] for message in messages(caught)] == [
        f"'{folder}': 1 of 4 files belong to no item, such as 'tea.{ending}', "
        f"and 1 of 4 items has none, such as 'jar'"
        for ending in ('png', 'npy')
    ]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        new = dataset.encode_new(shop / 'new.csv', folder, {'rgb': folder})
    assert new.features['rgb'].tolist() == [[0, 51, 0]]


def test_encode_new_reads_the_cache(shop):
    write(shop, new='item,title\ntea,Tea\n')
    encoder = BagOfWords()
    for num_encoded in (3, 3):  # Of two texts and a new one.
        dataset = open_catalogue(shop, text='{title}', text_encoder=encoder)
        dataset.encode_new(shop / 'new.csv')
        assert encoder.num_encoded == num_encoded


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
        item='itemID',
        time='position',
        image='movielens_id',
        text='{title}. {genres}. {plot}',
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
