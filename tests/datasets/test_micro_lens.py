import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pyg_ckd.datasets.micro_lens import MicroLens
from pyg_ckd.graph import RATES, check, modalities

PAIRS = """user,item,timestamp
1,10,1583378629552
1,9,1583378629553
1,100,1583378629999
2,9,1583378630000
2,10,1583378631000
2,100,1583378632000
"""
TITLES = """item,title
9,"A dog, once"
10,A cat # funny
100,
11,Nobody saw it
"""


class Lengths:
    def __call__(self, contents: list) -> Tensor:
        return torch.tensor(
            [
                [float(len(c) if isinstance(c, str) else c.getpixel((0, 0))[0])]
                for c in contents
            ]
        )

    def __repr__(self) -> str:
        return 'Lengths()'


def put(root: Path, size: str = '50k', **files: str) -> Path:
    """Put files of a size there by hand, named by what follows it."""
    raw = root / f'MicroLens-{size}' / 'raw'
    raw.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (raw / f'MicroLens-{size}_{name}.csv').write_text(text)
    return raw


def put_covers(path: Path) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
        for item, red in ((9, 10), (10, 20), (11, 30)):
            file = io.BytesIO()
            Image.new('RGB', (2, 2), (red, 0, 0)).save(file, 'PNG')
            archive.writestr(f'covers/{item}.png', file.getvalue())


def opened(root: Path, size: str = '50k', **kwargs) -> MicroLens:
    options = {
        'text_encoder': Lengths(),
        'image_encoder': Lengths(),
        'k_core': 1,
        'split': 'leave_one_out',
    }
    return MicroLens(root, size, **{**options, **kwargs})


def test_micro_lens(tmp_path):
    raw = put(tmp_path, pairs=PAIRS, titles=TITLES)
    put_covers(raw / 'MicroLens-50k_covers.zip')
    np.save(tmp_path / 'video.npy', np.array([[1.0], [2.0], [3.0], [4.0]]))
    dataset = opened(tmp_path, features={'video': tmp_path / 'video.npy'})
    data = dataset[0]
    check(data, splits=('val', 'test'))
    assert dataset.items == ['10', '100', '9']
    assert modalities(data) == ['image', 'text', 'video']
    assert data['item'].title == ['A cat # funny', '100', 'A dog, once']
    assert data['item'].has_text.tolist() == [True, False, True]
    assert data['item'].x_image[[0, 2], 0].tolist() == [20, 10]
    # Numbers ascending, 9, 10, 11 and 100, whatever the order of titles:
    assert data['item'].x_video.tolist() == [[2], [4], [1]]
    rates = data[RATES]
    assert rates.edge_index.tolist() == [[0, 1], [0, 2]]
    # In seconds, and ordered by what is less than one:
    assert rates.time.tolist() == [1583378629.552, 1583378630]


def test_micro_lens_100k_has_titles_without_header(tmp_path):
    titles = TITLES.partition('\n')[2]
    put(tmp_path, '100k', pairs=PAIRS, title_en=titles)
    np.save(tmp_path / 'clip.npy', np.arange(8.0).reshape(4, 2))
    dataset = opened(
        tmp_path,
        '100k',
        modalities=('text',),
        features={'image': tmp_path / 'clip.npy'},
    )
    item = dataset[0]['item']
    assert item.x_text[[0, 2], 0].tolist() == [13, 11]
    assert item.x_image.tolist() == [[2, 3], [6, 7], [0, 1]]
    assert repr(dataset) == 'MicroLens()'


def test_micro_lens_reads_a_folder_of_covers(tmp_path):
    raw = put(tmp_path, pairs=PAIRS, titles=TITLES)
    put_covers(raw / 'covers.zip')
    with zipfile.ZipFile(raw / 'covers.zip') as archive:
        archive.extractall(raw / 'MicroLens-50k_covers')
    dataset = opened(tmp_path, modalities=('image',))
    assert dataset[0]['item'].x_image[[0, 2], 0].tolist() == [20, 10]


def test_micro_lens_says_what_is_missing(tmp_path):
    put(tmp_path, titles=TITLES)
    with pytest.raises(FileNotFoundError) as info:
        opened(tmp_path)
    for part in (
        "lacks 'MicroLens-50k_pairs.csv', 'MicroLens-50k_covers.zip'; ",
        'https://github.com/westlake-repl/MicroLens',
        "leave out 'image' of 'modalities'",
        "'MicroLens-50k_pairs.tsv' does not do: it has no times",
    ):
        assert part in str(info.value)


@pytest.mark.parametrize(
    ('files', 'expected'),
    [
        ({'pairs': 'user,item\n1,2\n'}, "no column 'timestamp'"),
        ({'pairs': f'{PAIRS}1,10,1\n'}, 'row 7 below the header: item'),
        ({'titles': f'{TITLES}x,what\n'}, "row 5 below the header: item is ''"),
        (
            {'titles': f'{TITLES}9,again\n'},
            "row 5 below the header: item is '9",
        ),
        ({'titles': 'item,title\n'}, 'has no titles'),
    ],
)
def test_micro_lens_refuses_files(tmp_path, files, expected):
    put(tmp_path, **{'pairs': PAIRS, 'titles': TITLES, **files})
    with pytest.raises(ValueError) as info:
        opened(tmp_path, modalities=('text',))
    assert expected in str(info.value)


def test_micro_lens_refuses_other_modalities(tmp_path):
    with pytest.raises(ValueError, match="pass vectors of others as 'features"):
        opened(tmp_path, modalities=('audio',))


def test_micro_lens_refuses_numbers_of_thousands_of_digits(tmp_path):
    raw = put(tmp_path, pairs=PAIRS, titles=TITLES + '9' * 5000 + ',A title\n')
    put_covers(raw / 'MicroLens-50k_covers.zip')
    with pytest.raises(ValueError, match=r'titles\.csv.*an id'):
        opened(tmp_path)
