import io
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pyg_ckd.datasets.features.feature_cache import FeatureCache
from pyg_ckd.datasets.features.table_contents import TableContents
from pyg_ckd.datasets.formats.tables import read_table
from pyg_ckd.datasets.item_table import ItemTable

TABLE = pd.DataFrame(
    {
        'item': ['cup', 'pot', 'cup', 'mug'],
        'title': ['A cup', '', 'Another cup', 'A mug'],
        'photo': ['one.png', 'two', '', ''],
    }
)


class Encoder:
    """The lengths of texts, or the widths of pictures."""

    def __call__(self, contents):
        sizes = [len(c) if isinstance(c, str) else c.width for c in contents]
        return torch.tensor(sizes, dtype=torch.float).unsqueeze(1)

    def __repr__(self):
        return 'Encoder()'


def contents_of(root, columns=None, **kwargs):
    cache = FeatureCache(str(root / 'features'))
    encoder = Encoder()
    return TableContents(columns, encoder, encoder, 512, cache, **kwargs)


def rows(contents):
    return {
        modality: (x.flatten().tolist(), has.tolist())
        for modality, x, has in contents.modalities
    }


def put_pictures(folder, **widths):
    folder.mkdir()
    for name, width in widths.items():
        file = io.BytesIO()
        Image.new('RGB', (width, 1)).save(file, 'png')
        (folder / f'{name}.png').write_bytes(file.getvalue())
    return str(folder)


def test_contents_are_in_the_order_of_items(tmp_path):
    columns = ItemTable(TABLE, title='title', text='{title}')
    images = put_pictures(tmp_path / 'images', pot=3, cup=5)
    np.save(tmp_path / 'audio.npy', [[1.0], [2.0], [3.0], [4.0]])
    vectors = tmp_path / 'vectors'
    vectors.mkdir()
    np.save(vectors / 'mug.npy', [7.0])
    features = {
        'audio': str(tmp_path / 'audio.npy'),
        'graph': str(vectors),
    }
    items = ['mug', 'new', 'pot', 'cup']
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        contents = contents_of(tmp_path, columns)(
            items, TABLE, images, features
        )
        found = rows(contents)
    assert contents.items == items
    assert contents.titles == ['A mug', 'new', 'pot', 'A cup']
    assert found == {
        'image': ([0, 0, 3, 5], [False, False, True, True]),
        'text': ([5, 0, 0, 5], [True, False, False, True]),
        'audio': ([4, 0, 2, 1], [True, False, True, True]),
        'graph': ([7, 0, 0, 0], [True, False, False, False]),
    }


def test_pictures_that_the_table_names(tmp_path):
    images = put_pictures(tmp_path / 'images', one=3, two=4)
    columns = ItemTable(TABLE, image='photo')
    make = contents_of(tmp_path, columns)
    contents = make(['pot', 'mug', 'cup'], TABLE, images)
    assert contents.titles is None
    assert rows(contents) == {'image': ([4, 0, 3], [True, False, True])}


def test_files_of_others_are_warned_of_if_all_items_are_known(tmp_path):
    images = put_pictures(tmp_path / 'images', cup=3, lid=4)
    make = contents_of(tmp_path, ItemTable(TABLE))
    with pytest.warns(UserWarning, match=r'1 of 2 files belong to no item'):
        rows(make(['cup'], TABLE, images))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        rows(make(['cup'], TABLE, images, is_whole=False))


def test_items_without_a_table(tmp_path):
    images = put_pictures(tmp_path / 'images', cup=3)
    contents = contents_of(tmp_path)(['cup'], None, images)
    assert contents.titles is None
    assert rows(contents) == {'image': ([3], [True])}
    assert rows(contents_of(tmp_path)(['cup'], None)) == {}


def test_texts_of_lists(tmp_path):
    """As Amazon of 2023 has its features; an empty list is no text."""
    lists = [['soft toy', 'blue'], [], None]
    table = pd.DataFrame({'item': ['a', 'b', 'c'], 'features': lists})
    path = tmp_path / 'items.parquet'
    table.to_parquet(path)
    columns = ItemTable(path, text='{features}')
    text = read_table(path, columns.columns)
    found = rows(contents_of(tmp_path, columns)(['a', 'b', 'c'], text))
    expected = [float(len('soft toy blue')), 0, 0]
    assert found == {'text': (expected, [True, False, False])}
