"""Small valid files of each format, and what reads them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from pyg_ckd.datasets.amazon_multimodal import AmazonMultimodal
from pyg_ckd.datasets.catalogue import Catalogue
from pyg_ckd.datasets.features.item_files import ItemFiles
from pyg_ckd.datasets.features.pictures import PICTURES, open_picture
from pyg_ckd.datasets.features.vectors import read_rows, read_vectors
from pyg_ckd.datasets.formats import (
    amazon_2014,
    amazon_2018,
    amazon_2023,
    lastfm,
    microlens,
    movielens,
)
from pyg_ckd.datasets.formats.feature_files import read_features
from pyg_ckd.datasets.formats.shop_tables import read_interactions, read_items
from pyg_ckd.datasets.formats.split_files import read_split
from pyg_ckd.datasets.interaction_table import InteractionTable
from pyg_ckd.datasets.item_table import ItemTable
from pyg_ckd.datasets.lattice_folder import LATTICEFolder
from pyg_ckd.datasets.mmrec_folder import MMRecFolder
from pyg_ckd.datasets.mrlib_folder import MRLibFolder
from pyg_ckd.datasets.raw.download import verify
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.recipe import RawFile, Recipe
from pyg_ckd.datasets.recbole_folder import RecBoleFolder

USERS, ITEMS = ('ann', 'bob', 'cem', 'dora'), ('cup', 'mug', 'pot', 'tea')
#: User, item and split, by number; each user has all but one item.
ROWS = [
    (u, i, (u + i) % 3) for u in range(4) for i in range(4) if (u + i) % 4 != 3
]
SPLITS = ('train', 'validation', 'test')
FEATURES = np.linspace(-1, 1, 12).reshape(4, 3)
NAMED = Interactions.from_ids(
    [USERS[u] for u, _, _ in ROWS], [ITEMS[i] for _, i, _ in ROWS]
)


class Parser(NamedTuple):
    """A format."""

    #: Writes valid files into a folder.
    write: Callable[[Path], None]
    #: Reads them. What it returns is checked if it is a graph.
    read: Callable[[Path], Any]
    #: Files that it changes, and rightly.
    changes: tuple[str, ...] = ()


def encode_texts(texts: list[str]) -> Tensor:
    return torch.tensor([[float(len(text)), 1.0] for text in texts])


class Encoder:
    """Lengths of texts or sizes of pictures, known by name."""

    def __call__(self, contents: list[Any]) -> Tensor:
        if isinstance(contents[0], str):
            return encode_texts(contents)
        return torch.tensor([image.size for image in contents]).float()

    def __repr__(self) -> str:
        return 'Encoder()'


def table(**columns: Any) -> pd.DataFrame:
    users, items = [USERS[u] for u, *_ in ROWS], [ITEMS[i] for _, i, _ in ROWS]
    return pd.DataFrame({'user': users, 'item': items, **columns})


def sales() -> pd.DataFrame:
    days = pd.date_range('2024-01-31 12:30', periods=len(ROWS)).astype(str)
    stars = [1.5 + i for _, i, _ in ROWS]
    return table(stars=stars, day=days)


def goods() -> pd.DataFrame:
    titles = ['A red cup', 'Ein Becher, groß', '"Pot"', '']
    return pd.DataFrame({'item': ITEMS, 'title': titles, 'price': range(4)})


def write_tables(folder: Path, ending: str) -> None:
    for name, frame in (('sales', sales()), ('items', goods())):
        path = folder / f'{name}.{ending}'
        if ending == 'parquet':
            if name == 'items':
                frame['tags'] = [['a', 'b'], [], None, ['c']]
            frame.to_parquet(path)
        else:
            frame.to_csv(
                path, sep='\t' if ending == 'tsv' else ',', index=False
            )


def read_tables(folder: Path, ending: str) -> Any:
    text = '{tags}' if ending == 'parquet' else '{title}'
    read_items(ItemTable(folder / f'items.{ending}', title='title', text=text))
    sales = folder / f'sales.{ending}'
    table = InteractionTable(sales, rating='stars', time='day')
    return read_interactions([table])


def inter() -> str:
    rows = [f'{u}\t{i}\t{k}\t{k + 1}.5\t{100 * u}' for u, i, k in ROWS]
    header = 'userID\titemID\tx_label\trating\ttimestamp'
    return '\n'.join([header, *rows, ''])


def write_mmrec(folder: Path) -> None:
    (folder / 'tiny').mkdir()
    (folder / 'tiny' / 'tiny.inter').write_text(inter())
    np.save(folder / 'tiny' / 'text_feat.npy', FEATURES)


def lists(label: int) -> dict[str, list[int]]:
    out: dict[str, list[int]] = {}
    for user, item, split in ROWS:
        if split == label:
            out.setdefault(str(user), []).append(item)
    return out


def write_lists(folder: Path) -> None:
    for label, name in enumerate(('train', 'val', 'test')):
        (folder / f'{name}.json').write_text(json.dumps(lists(label)))


def write_lattice(folder: Path) -> None:
    (folder / 'tiny').mkdir()
    write_lists(folder / 'tiny')
    np.save(folder / 'tiny' / 'text_feat.npy', FEATURES.astype('f4'))


def write_split_of_mmrec(folder: Path) -> None:
    (folder / 'tiny.inter').write_text(inter())
    for name, columns, names in (
        ('u', 'user_id\tuserID', USERS),
        ('i', 'asin\titemID', ITEMS),
    ):
        lines = [f'{name}\t{number}' for number, name in enumerate(names)]
        path = folder / f'{name}_id_mapping.csv'
        path.write_text('\n'.join([columns, *lines, '']))


def write_split_of_lattice(folder: Path) -> None:
    write_lists(folder)
    for name, names in (('user', USERS), ('item', ITEMS)):
        lines = [f'{name}\t{number}\n' for number, name in enumerate(names)]
        (folder / f'{name}_list.txt').write_text(''.join(lines))


def write_split_of_recbole(folder: Path) -> None:
    for label, name in enumerate(('train', 'valid', 'test')):
        rows = [f'{USERS[u]}\t{ITEMS[i]}' for u, i, k in ROWS if k == label]
        path = folder / f'{folder.name}.{name}.inter'
        path.write_text('\n'.join(['user_id:token\titem_id:token', *rows, '']))


def write_split_table(folder: Path) -> None:
    frame = table(split=[SPLITS[k] for *_, k in ROWS])
    frame.to_csv(folder / 'split.csv', index=False)


def write_mrlib(folder: Path) -> None:
    (folder / 'tiny').mkdir()
    rows = [f'{u},{i},{k}.5,{k + 1},{k}' for u, i, k in ROWS]
    header = 'user_id,item_id,rating,timestamp,label'
    path = folder / 'tiny' / 'inter.csv'
    path.write_text('\n'.join([header, *rows, '']))
    torch.save(torch.tensor(FEATURES), folder / 'tiny' / 'text_feat.pt')


def write_recbole(folder: Path) -> None:
    (folder / 'tiny').mkdir()
    rows = [f'{USERS[u]}\t{ITEMS[i]}\t{k}.5\t{k}' for u, i, k in ROWS]
    header = 'user_id:token\titem_id:token\trating:float\ttimestamp:float'
    path = folder / 'tiny' / 'tiny.inter'
    path.write_text('\n'.join([header, *rows, '']))
    rows = [f'{item}\tA {item}\t0.5 {k} 1' for k, item in enumerate(ITEMS)]
    header = 'item_id:token\ttitle:token_seq\tsound:float_seq'
    path = folder / 'tiny' / 'tiny.item'
    path.write_text('\n'.join([header, *rows, '']))


def write_gz(path: Path, lines: list[str]) -> None:
    path.write_bytes(gzip.compress('\n'.join([*lines, '']).encode(), mtime=0))


def reviews_of_2014() -> list[str]:
    return [
        json.dumps(
            {
                'reviewerID': USERS[u],
                'asin': f'B00000000{i}',
                'overall': k + 1.0,
                'unixReviewTime': 1_382_659_200 + u,
                'reviewText': 'Good "cup"\n',
            }
        )
        for u, i, k in ROWS
    ]


def write_amazon_2014(folder: Path) -> None:
    write_gz(folder / 'reviews.json.gz', reviews_of_2014())
    products = [
        {
            'asin': f'B00000000{i}',
            'title': title,
            'price': 4.99,
            'categories': [['Baby', 'Cups']],
            'description': "It's red &amp; round",
        }
        for i, title in enumerate(goods()['title'])
    ]
    lines = [str(x) if k % 2 else json.dumps(x) for k, x in enumerate(products)]
    write_gz(folder / 'meta.json.gz', lines)
    records = [
        f'B00000000{i}'.encode() + FEATURES[i].astype('<f4').tobytes()
        for i in range(4)
    ]
    (folder / 'image.b').write_bytes(b''.join(records))


def read_amazon_2014(folder: Path) -> Any:
    found = amazon_2014.read_reviews(folder / 'reviews.json.gz')
    amazon_2014.read_metadata(folder / 'meta.json.gz', found.items)
    path = folder / 'image.b'
    return amazon_2014.read_image_features(path, found.items, num_features=3)


def write_raw_files(folder: Path) -> None:
    raw = folder / 'Tiny' / 'raw'
    raw.mkdir(parents=True)
    write_amazon_2014(raw)
    (raw / 'image.b').unlink()


def write_recipe(folder: Path) -> None:
    parts = ['[statistics]\nusers = 4\nitems = 4\ninteractions = 12\n']
    for key, name in (
        ('reviews', 'reviews.json.gz'),
        ('metadata', 'meta.json.gz'),
        ('image', 'image.b'),
    ):
        parts.append(
            f'[files.{key}]\nname = "{name}"\n'
            f'urls = ["https://example.org/{name}"]\n'
        )
    parts.append(f'sha256 = "{"0" * 64}"\n')
    (folder / 'Tiny.toml').write_text('\n'.join(parts))


def read_amazon(folder: Path) -> Any:
    write_recipe(folder)
    return AmazonMultimodal(
        folder,
        'Tiny',
        recipe=folder / 'Tiny.toml',
        modalities=('text',),
        text_encoder=Encoder(),
        split='random',
    )[0]


def write_amazon_2018(folder: Path) -> None:
    write_gz(folder / 'reviews.json.gz', reviews_of_2014())
    lines = [
        json.dumps(
            {
                'asin': f'B00000000{i}',
                'title': title,
                'description': ['A cup.', 'Red.'],
                'category': ['Baby', 'Cups'],
                'imageURLHighRes': ['https://example.org/a.jpg'],
            }
        )
        for i, title in enumerate(goods()['title'])
    ]
    write_gz(folder / 'meta.json.gz', lines)


def read_amazon_2018(folder: Path) -> Any:
    found = amazon_2018.read_reviews(folder / 'reviews.json.gz')
    path = folder / 'meta.json.gz'
    return list(amazon_2018.read_metadata(path, found.items))


def write_amazon_2023(folder: Path) -> None:
    lines = [
        json.dumps(
            {
                'user_id': USERS[u],
                'parent_asin': f'B00000000{i}',
                'rating': k + 1.0,
                'timestamp': 1_588_687_728_923 + u,
            }
        )
        for u, i, k in ROWS
    ]
    write_gz(folder / 'reviews.jsonl.gz', lines)
    lines = [
        json.dumps(
            {
                'parent_asin': f'B00000000{i}',
                'title': title,
                'features': ['soft', 'blue'],
                'description': [],
                'images': [{'large': 'https://example.org/a.jpg'}],
                'details': {'Brand': 'Tea & Co'},
            }
        )
        for i, title in enumerate(goods()['title'])
    ]
    write_gz(folder / 'meta.jsonl.gz', lines)
    for label, name in enumerate(('train', 'valid', 'test')):
        lines = [
            f'{USERS[u]},B00000000{i},{k + 1}.0,{1_588_687_728_923 + u}'
            for u, i, k in ROWS
            if k == label
        ]
        header = 'user_id,parent_asin,rating,timestamp'
        write_gz(folder / f'{name}.csv.gz', [header, *lines])


def read_amazon_2023(folder: Path) -> Any:
    found = amazon_2023.read_reviews(folder / 'reviews.jsonl.gz')
    path = folder / 'meta.jsonl.gz'
    list(amazon_2023.read_metadata(path, found.items))
    names = ('train', 'valid', 'test')
    return amazon_2023.read_benchmark([folder / f'{x}.csv.gz' for x in names])


def write_features(folder: Path) -> None:
    np.save(folder / 'text_feat.npy', FEATURES)
    np.save(folder / 'image_feat.npy', np.asfortranarray(FEATURES, '>f4'))


def read_matrices(folder: Path) -> Any:
    read_rows(str(folder / 'text_feat.npy'), ITEMS, ITEMS)
    names = ('image_feat.npy', 'text_feat.npy')
    return read_features([str(folder / name) for name in names])


def vectors() -> dict[str, bytes]:
    out = {}
    for item, vector in zip(ITEMS, FEATURES, strict=True):
        file = io.BytesIO()
        np.save(file, vector)
        out[f'{item}.npy'] = file.getvalue()
    return out


def pictures() -> dict[str, bytes]:
    out = {}
    endings = {'PNG': 'png', 'JPEG': 'jpg', 'GIF': 'gif', 'TIFF': 'tif'}
    kinds = [*endings, 'WEBP', 'BMP']
    pixels = np.random.default_rng(0).integers(256, size=(12, 9, 3), dtype='u1')
    for kind, item in zip(kinds, [*ITEMS, 'vase', 'jug'], strict=True):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        out[f'{item}.{endings.get(kind, kind.lower())}'] = file.getvalue()
    return out


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def write_zip(folder: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / 'files.zip', 'w') as file:
        for number, (name, content) in enumerate(files.items()):
            info = zipfile.ZipInfo(f'deep/{name}')
            info.compress_type = (
                *(zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
                *(zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA),
            )[number % 4]
            file.writestr(info, content)


def read_pictures(path: Path) -> Any:
    files = ItemFiles(path, PICTURES)
    return [open_picture(files, name, 8).size for name in files.names]


def write_checksums(folder: Path) -> None:
    content = b'B000000000' + bytes(4 * 4096)
    (folder / 'image.b').write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    lines = [f'{digest}  image.b\n', f'{"0" * 64} *other.gz\n']
    (folder / 'SHA256SUMS').write_text(''.join(lines))


def read_checksums(folder: Path) -> None:
    file = RawFile('image.b', ('https://example.org/image.b',))
    verify([file], folder)


def write_catalogue(folder: Path) -> None:
    write_tables(folder, 'csv')
    write_zip(folder, pictures())
    np.save(folder / 'sound.npy', FEATURES)


def read_catalogue(folder: Path) -> Any:
    return Catalogue(
        folder / 'root',
        InteractionTable(folder / 'sales.csv', rating='stars', time='day'),
        ItemTable(folder / 'items.csv', text='{title}'),
        folder / 'files.zip',
        {'sound': folder / 'sound.npy'},
        text_encoder=Encoder(),
        image_encoder=Encoder(),
        k_core=1,
        split='random',
        skip_invalid=True,
    )[0]


def write_movielens(folder: Path) -> None:
    ratings = [f'{u + 1}::{i + 1}::{k + 3}::97830{u}' for u, i, k in ROWS]
    films = [f'{i + 1}::Film {i} (1995)::Comedy|Drama' for i in range(4)]
    files = {'ratings.dat': ratings, 'movies.dat': films}
    write_zip(
        folder, {name: '\n'.join(x).encode() for name, x in files.items()}
    )


def read_movielens(folder: Path) -> Any:
    movielens.read_ratings(folder / 'files.zip')
    return movielens.read_films(folder / 'files.zip')


def write_lastfm(folder: Path) -> None:
    listens = [f'{u}\t{i}\t{k + 10}' for u, i, k in ROWS]
    artists = [f'{i}\tName {i}\thttp://a/{i}\thttp://b/{i}' for i in range(4)]
    tagged = [f'{u}\t{i}\t{k}\t1238536800000' for u, i, k in ROWS]
    files = {
        'user_artists.dat': ['userID\tartistID\tweight', *listens],
        'artists.dat': ['id\tname\turl\tpictureURL', *artists],
        'tags.dat': ['tagID\ttagValue', '0\trock', '1\tpop', '2\tjazz'],
        'user_taggedartists-timestamps.dat': [
            'userID\tartistID\ttagID\ttimestamp',
            *tagged,
        ],
    }
    write_zip(
        folder, {name: '\r\n'.join(x).encode() for name, x in files.items()}
    )


def read_lastfm(folder: Path) -> Any:
    lastfm.read_listens(folder / 'files.zip')
    return lastfm.read_artists(folder / 'files.zip')


def write_microlens(folder: Path) -> None:
    lines = [f'{i + 1},A title, with a comma {i}' for i in range(4)]
    (folder / 'titles.csv').write_text('\n'.join(lines))


PARSERS = {
    'MMRecFolder': Parser(write_mmrec, lambda x: MMRecFolder(x, 'tiny')[0]),
    'LATTICEFolder': Parser(
        write_lattice, lambda x: LATTICEFolder(x, 'tiny')[0]
    ),
    'MRLibFolder': Parser(write_mrlib, lambda x: MRLibFolder(x, 'tiny')[0]),
    'RecBoleFolder': Parser(
        write_recbole,
        lambda x: RecBoleFolder(x, 'tiny', text_encoder=Encoder())[0],
    ),
    'split of MMRec': Parser(
        write_split_of_mmrec, lambda x: read_split(x, NAMED)
    ),
    'split of LATTICE': Parser(
        write_split_of_lattice, lambda x: read_split(x, NAMED)
    ),
    'split of RecBole': Parser(
        write_split_of_recbole, lambda x: read_split(x, NAMED)
    ),
    'split in a table': Parser(
        write_split_table, lambda x: read_split(x / 'split.csv', NAMED)
    ),
    'CSV': Parser(
        lambda x: write_tables(x, 'csv'), lambda x: read_tables(x, 'csv')
    ),
    'CSV in gzip': Parser(
        lambda x: write_tables(x, 'csv.gz'), lambda x: read_tables(x, 'csv.gz')
    ),
    'TSV': Parser(
        lambda x: write_tables(x, 'tsv'), lambda x: read_tables(x, 'tsv')
    ),
    'Parquet': Parser(
        lambda x: write_tables(x, 'parquet'),
        lambda x: read_tables(x, 'parquet'),
    ),
    'Amazon 2014': Parser(write_amazon_2014, read_amazon_2014),
    'Amazon 2018': Parser(write_amazon_2018, read_amazon_2018),
    'Amazon 2023': Parser(write_amazon_2023, read_amazon_2023),
    'MovieLens-1M': Parser(write_movielens, read_movielens),
    'Last.fm-2K': Parser(write_lastfm, read_lastfm),
    'MicroLens': Parser(
        write_microlens, lambda x: microlens.read_titles(x / 'titles.csv')
    ),
    'recipe': Parser(write_recipe, lambda x: Recipe.load(x / 'Tiny.toml')),
    'checksums': Parser(write_checksums, read_checksums, ('SHA256SUMS',)),
    'feature matrices': Parser(write_features, read_matrices),
    'vectors': Parser(
        lambda x: write_folder(x, vectors()), lambda x: read_vectors(x, ITEMS)
    ),
    'vectors in a zip': Parser(
        lambda x: write_zip(x, vectors()),
        lambda x: read_vectors(x / 'files.zip', ITEMS),
    ),
    'pictures': Parser(lambda x: write_folder(x, pictures()), read_pictures),
    'pictures in a zip': Parser(
        lambda x: write_zip(x, pictures()),
        lambda x: read_pictures(x / 'files.zip'),
    ),
    'AmazonMultimodal': Parser(write_raw_files, read_amazon),
    'Catalogue': Parser(write_catalogue, read_catalogue),
}
