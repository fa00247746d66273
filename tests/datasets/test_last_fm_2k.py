import hashlib
import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pyg_ckd.datasets._open_dataset import open_dataset
from pyg_ckd.datasets.last_fm_2k import LastFM2K
from pyg_ckd.datasets.mmrec_folder import MMRecFolder
from pyg_ckd.datasets.raw.recipe import RawFile
from pyg_ckd.graph import RATES, check, modalities

ARTISTS = """id\tname\turl\tpictureURL
51\tDuran Duran\thttp://a/51\thttp://b/51.jpg
52\tSigur Rós\thttp://a/52\thttp://b/52.jpg
7\tAC/DC "live"\thttp://a/7\t
99\tUnheard\thttp://a/99\t
"""
TAGS = 'tagID\ttagValue\n1\tmetal\n2\tpop\n3\tcaf\xe9\n4\tnever\n'
TAGGED = """userID\tartistID\ttagID\ttimestamp
2\t51\t1\t1238536800000
3\t51\t2\t1238536800000
2\t51\t2\t1238536800000
2\t52\t3\t1238536800000
2\t52\t77\t1238536800000
2\t1000\t3\t1238536800000
"""
LISTENS = """userID\tartistID\tweight
2\t51\t13883
2\t52\t11
2\t7\t1
3\t51\t3
3\t52\t4
3\t7\t9
"""


class Hashes:
    def __call__(self, texts: list[str]) -> Tensor:
        return torch.tensor([[zlib.crc32(t.encode()) % 997.0] for t in texts])

    def __repr__(self) -> str:
        return 'Hashes()'


def archive_of(**changed: bytes | None) -> bytes:
    files = {
        'artists': ARTISTS.encode(),
        'tags': TAGS.encode('latin-1'),
        'user_taggedartists-timestamps': TAGGED.encode(),
        'user_artists': LISTENS.replace('\n', '\r\n').encode(),
        **changed,
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name, content in files.items():
            if content is not None:
                archive.writestr(f'{name}.dat', content)
    return file.getvalue()


def opened(root: Path, content: bytes | None = None, **kwargs) -> LastFM2K:
    content = archive_of() if content is None else content

    class Tiny(LastFM2K):
        file = RawFile(
            'hetrec2011-lastfm-2k.zip',
            ('http://127.0.0.1:9/a.zip',),
            hashlib.sha256(content).hexdigest(),
        )

    raw = root / 'lastfm-2k' / 'raw'
    raw.mkdir(parents=True, exist_ok=True)
    (raw / 'hetrec2011-lastfm-2k.zip').write_bytes(content)
    options = {'text_encoder': Hashes(), 'k_core': 1, 'split': 'mmrec'}
    return Tiny(root, **{**options, **kwargs})


def test_last_fm_2k(tmp_path):
    dataset = opened(tmp_path)
    data = dataset[0]
    check(data, splits=('val', 'test'))
    assert (dataset.users, dataset.items) == (['2', '3'], ['51', '52', '7'])
    assert data['item'].title == ['Duran Duran', 'Sigur Rós', 'AC/DC "live"']
    # The tag that two users gave comes first; an unknown one counts for none.
    assert data['item'].x_text.equal(
        Hashes()(
            ['Duran Duran. pop, metal', 'Sigur Rós. café', 'AC/DC "live".']
        )
    )
    weight = {
        ('2', '51'): 13883,
        **{('2', '52'): 11, ('2', '7'): 1},
        **{('3', '51'): 3, ('3', '52'): 4, ('3', '7'): 9},
    }
    rates = data[RATES]
    for (user, item), rating in zip(
        rates.edge_index.t().tolist(), rates.rating.tolist(), strict=True
    ):
        assert weight[dataset.users[user], dataset.items[item]] == rating
    assert 'time' not in rates


def test_last_fm_2k_with_sound(tmp_path):
    (tmp_path / 'vggish').mkdir()
    for artist in (51, 52, 7):
        np.save(tmp_path / 'vggish' / f'{artist}.npy', np.full(4, artist * 1.0))
    np.save(tmp_path / 'all.npy', np.arange(8.0).reshape(4, 2))
    dataset = opened(
        tmp_path,
        template='{name}',
        features={
            'vggish': tmp_path / 'vggish',
            'whisper': tmp_path / 'all.npy',
        },
    )
    data = dataset[0]
    assert modalities(data) == ['text', 'vggish', 'whisper']
    assert data['item'].x_vggish[:, 0].tolist() == [51, 52, 7]
    # Rows in the order of the file of artists:
    assert data['item'].x_whisper.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert data['item'].x_text[1].equal(Hashes()(['Sigur Rós'])[0])


def test_last_fm_2k_has_no_times(tmp_path):
    with pytest.raises(ValueError, match='needs the time'):
        opened(tmp_path, split='time')


@pytest.mark.parametrize(
    ('changed', 'expected'),
    [
        ({'tags': None}, "holds no file 'tags.dat'"),
        ({'tags': b'tag\tvalue\n1\tpop\n'}, "line 1: there is no column 'tag"),
        (
            {'user_artists': LISTENS.encode() + b'2\t99\tmany\n'},
            "row 7 below the header: weight is 'many'",
        ),
        (
            {'user_artists': LISTENS.encode() + b'2\t99\n'},
            "user_artists.dat', line 8: has 2 fields, expected 3",
        ),
        (
            {'artists': ARTISTS.encode() + b'51\tTwice\t\t\n'},
            "row 5 below the header: id is '51', expected an item that has no",
        ),
    ],
)
def test_last_fm_2k_refuses_files(tmp_path, changed, expected):
    with pytest.raises((ValueError, FileNotFoundError)) as info:
        opened(tmp_path, archive_of(**changed))
    assert expected in str(info.value)


def test_last_fm_2k_of_mmrec_is_found(tmp_path, shared):
    if not (shared / 'data' / 'lastfm-2k').is_dir():
        pytest.skip("needs the folder 'lastfm-2k' in 'shared/data'")
    dataset = open_dataset(
        shared / 'data', 'lastfm-2k', processed_root=tmp_path
    )
    assert type(dataset) is MMRecFolder
    data = dataset[0]
    check(data, splits=('val', 'test'))
    assert modalities(data) == ['text', 'vggish', 'whisper']
    assert (data['user'].num_nodes, data['item'].num_nodes) == (1858, 1425)
    widths = [data['item'][f'x_{m}'].size(1) for m in modalities(data)]
    assert widths == [384, 128, 512]
    rates = data[RATES]
    sizes = [
        rates[key].size(1)
        for key in (
            'edge_index',
            'val_edge_label_index',
            'test_edge_label_index',
        )
    ]
    assert sizes == [44_327, 4_799, 7_219]
