import hashlib
import io
import threading
import warnings
import zipfile
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from PIL.ImageStat import Stat
from torch import Tensor

from pyg_ckd.datasets.movie_lens_1m import MovieLens1M
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.recipe import RawFile
from pyg_ckd.datasets.splits import LeaveOneOut
from pyg_ckd.graph import RATES, check

FILMS = """1::Toy Story (1995)::Animation|Children's|Comedy
2::Les Misérables (1995)::Drama|Musical
3::Grumpier "Old" Men (1995)::Comedy|Romance
9::Nobody saw it (1996)::Drama
"""
RATINGS = """7::2::4::300
7::1::5::100
7::3::3::200
10::1::2::50
10::2::5::60
10::3::5::70
"""


class Hashes:
    """Encodes a text by the hash of each of its words."""

    def __call__(self, texts: list[str]) -> Tensor:
        x = torch.zeros(len(texts), 16)
        for row, text in enumerate(texts):
            for word in text.split():
                x[row, zlib.crc32(word.encode()) % 16] += 1
        return x

    def __repr__(self) -> str:
        return 'Hashes()'


class Colours:
    """Encodes a picture by the mean of each colour."""

    def __call__(self, images: list[Image.Image]) -> Tensor:
        return torch.tensor([Stat(image).mean for image in images])

    def __repr__(self) -> str:
        return 'Colours()'


def archive_of(
    ratings: str = RATINGS, films: str = FILMS, folder: str = 'ml-1m/'
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f'{folder}ratings.dat', ratings.encode('latin-1'))
        archive.writestr(f'{folder}movies.dat', films.encode('latin-1'))
        archive.writestr('__MACOSX/ml-1m/._movies.dat', b'\0')
    return file.getvalue()


def class_of(content: bytes, url: str = 'http://127.0.0.1:9/a.zip') -> type:
    """Return `MovieLens1M` with an archive of its own."""
    digest = hashlib.sha256(content).hexdigest()

    class Tiny(MovieLens1M):
        file = RawFile('ml-1m.zip', (url,), digest)

    return Tiny


def opened(root: Path, content: bytes | None = None, **kwargs) -> MovieLens1M:
    """Open an archive that was put there by hand."""
    content = archive_of() if content is None else content
    raw = root / 'ml-1m' / 'raw'
    raw.mkdir(parents=True, exist_ok=True)
    (raw / 'ml-1m.zip').write_bytes(content)
    options = {
        'text_encoder': Hashes(),
        'image_encoder': Colours(),
        'k_core': 1,
        'split': 'leave_one_out',
    }
    return class_of(content)(root, **{**options, **kwargs})


def error_of(root: Path, content: bytes | None = None, **kwargs) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as info:
        opened(root, content, **kwargs)
    return str(info.value)


def picture(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new('RGB', (4, 6), colour).save(file, 'PNG')
    return file.getvalue()


def test_movie_lens_1m(tmp_path):
    dataset = opened(tmp_path)
    data = dataset[0]
    check(data, splits=('val', 'test'))
    assert (dataset.users, dataset.items) == (['10', '7'], ['1', '2', '3'])
    assert data['item'].title[1] == 'Les Misérables (1995)'
    assert data['item'].x_text.equal(
        Hashes()(
            [
                "Toy Story (1995). Animation, Children's, Comedy",
                'Les Misérables (1995). Drama, Musical',
                'Grumpier "Old" Men (1995). Comedy, Romance',
            ]
        )
    )
    rates = data[RATES]
    # The last of each user is held out, by the times of the file:
    assert rates.edge_index.tolist() == [[1, 0], [0, 0]]
    assert rates.rating.tolist() == [5, 2]
    assert rates.time.tolist() == [100, 50]
    assert rates.test_edge_label_index.tolist() == [[1, 0], [1, 2]]
    assert repr(dataset) == 'Tiny()'
    assert (tmp_path / 'ml-1m' / 'processed').is_dir()
    # Nothing is left beside the archive but its checksum.
    names = {path.name for path in (tmp_path / 'ml-1m' / 'raw').iterdir()}
    assert names <= {'ml-1m.zip', 'SHA256SUMS', '.download.lock'}


def test_movie_lens_1m_is_kept(tmp_path):
    first = opened(tmp_path)
    again = opened(tmp_path)
    assert first.processed_dir == again.processed_dir
    other = opened(tmp_path, min_rating=2.5, split=LeaveOneOut(), k_core=1)
    assert other.processed_dir != first.processed_dir


@pytest.fixture
def server():
    class Request(BaseHTTPRequestHandler):
        def do_GET(self):
            content = self.server.content
            self.send_response(200)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Request)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_movie_lens_1m_downloads(tmp_path, server):
    server.content = archive_of()
    url = f'http://127.0.0.1:{server.server_port}/ml-1m.zip'
    cls = class_of(server.content, url)
    dataset = cls(tmp_path, template=None, k_core=1, split='mmrec')
    assert dataset[0][RATES].edge_index.size(1) == 2


def test_movie_lens_1m_downloads_nothing_for_missing_posters(tmp_path, server):
    server.content = b''
    url = f'http://127.0.0.1:{server.server_port}/ml-1m.zip'
    with pytest.raises(FileNotFoundError, match=r'posters\.zip'):
        class_of(archive_of(), url)(tmp_path, posters=tmp_path / 'posters.zip')


def test_movie_lens_1m_refuses_another_archive(tmp_path):
    raw = tmp_path / 'ml-1m' / 'raw'
    raw.mkdir(parents=True)
    (raw / 'ml-1m.zip').write_bytes(archive_of())
    with pytest.raises(ValueError, match='a6898adb50b9ca05'):
        MovieLens1M(tmp_path, template=None)


def test_movie_lens_1m_with_posters_plots_and_sound(tmp_path):
    with zipfile.ZipFile(tmp_path / 'posters.zip', 'w') as file:
        file.writestr('1.png', picture((255, 0, 0)))
        file.writestr('3.png', picture((0, 0, 255)))
        file.writestr('9.png', picture((0, 255, 0)))
    (tmp_path / 'films.tsv').write_text(
        'itemID\tmovielens_id\ttitle\tplot\n'
        '0\t3\tanother title\tOld men.\n'
        '1\t1\tanother title\tToys live.\n'
        '2\t2\tanother title\tBread.\n'
    )
    np.save(tmp_path / 'sound.npy', np.array([[3.0], [1.0], [2.0]]))
    (tmp_path / 'whisper').mkdir()
    np.save(tmp_path / 'whisper' / '2.npy', np.array([7.0, 8.0]))
    dataset = opened(
        tmp_path,
        items=tmp_path / 'films.tsv',
        item_column='movielens_id',
        posters=tmp_path / 'posters.zip',
        template='{title} {plot}',
        features={
            'audio': tmp_path / 'sound.npy',
            'whisper': tmp_path / 'whisper',
        },
    )
    item = dataset[0]['item']
    assert item.x_text[0].equal(Hashes()(['Toy Story (1995) Toys live.'])[0])
    assert item.title[0] == 'Toy Story (1995)'
    assert item.x_audio.tolist() == [[1], [2], [3]]
    assert item.has_image.tolist() == [True, False, True]
    assert item.x_image[[0, 2]].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert item.has_whisper.tolist() == [False, True, False]


def test_movie_lens_1m_has_rows_for_its_films(tmp_path):
    np.save(tmp_path / 'sound.npy', np.array([[1.0], [2.0], [3.0], [9.0]]))
    dataset = opened(
        tmp_path, template=None, features={'text': tmp_path / 'sound.npy'}
    )
    assert dataset[0]['item'].x_text.tolist() == [[1], [2], [3]]


def test_movie_lens_1m_warns_of_films_without_a_row(tmp_path):
    path = tmp_path / 'films.csv'
    path.write_text('item,plot\n1,Toys\n03,Men\n')
    with pytest.warns(UserWarning, match='2 of 3 sold items have no row'):
        dataset = opened(tmp_path, items=path, template='{plot}')
    assert dataset[0]['item'].has_text.tolist() == [True, False, False]


def test_movie_lens_1m_takes_high_ratings(tmp_path):
    ratings = RATINGS + '7::9::5::400\n10::9::4::80\n11::2::1::1\n'
    dataset = opened(tmp_path, archive_of(ratings), min_rating=4, template=None)
    assert dataset.items == ['1', '2', '3', '9']
    assert dataset.users == ['10', '7']
    assert dataset[0][RATES].rating.min() >= 4
    assert error_of(tmp_path, min_rating=6) == (
        "'min_rating' leaves no rating (got 6, the highest is 5)"
    )


def test_movie_lens_1m_warns_of_its_core(tmp_path):
    ratings = RATINGS + '10::9::4::80\n'
    with pytest.warns(UserWarning, match='k_core=2 leaves out 0 of 2 users'):
        dataset = opened(tmp_path, archive_of(ratings), k_core=2, template=None)
    assert dataset.items == ['1', '2', '3']


def test_movie_lens_1m_encodes_new_films(tmp_path):
    dataset = opened(tmp_path)
    path = tmp_path / 'new.csv'
    path.write_text('item,title,genres\n5000,A new one (2001),Drama\n')
    new = dataset.encode_new(path)
    assert new.name == ['5000']
    assert new.features['text'].equal(Hashes()(['A new one (2001). Drama']))


@pytest.mark.parametrize(
    ('ratings', 'expected'),
    [
        ('7::2::4\n', "ratings.dat', line 1: has 3 fields, expected 4"),
        (f'{RATINGS}7::9::x::1\n', "line 7: stars is 'x', expected a finite"),
        (f'{RATINGS}7::9::nan::1\n', "line 7: stars is 'nan'"),
        (f'{RATINGS}7::9::5::\n', "line 7: time is ''"),
        (f'{RATINGS}::9::5::1\n', "line 7: user is ''"),
        (f'{RATINGS}7::1::5::1\n', "line 7: film is '1', expected an item th"),
        ('', "ratings.dat' has no lines"),
    ],
)
def test_movie_lens_1m_refuses_ratings(tmp_path, ratings, expected):
    error = error_of(tmp_path, archive_of(ratings), template=None)
    assert expected in error
    assert 'ml-1m.zip' in error


def test_movie_lens_1m_skips_invalid_lines(tmp_path):
    ratings = f'{RATINGS}7::2\n10::9::x::1\n7::1::3::1\n'
    with pytest.warns(UserWarning) as warned:
        dataset = opened(
            tmp_path, archive_of(ratings), template=None, skip_invalid=True
        )
    text = ' '.join(str(w.message) for w in warned)
    assert '1 has not 4 fields (in line 7: 2)' in text
    assert "1 has no finite number in 'stars' (in line 8: 'x')" in text
    assert 'repeats a user and item (in line 9' in text
    assert dataset.items == ['1', '2', '3']


@pytest.mark.parametrize(
    ('films', 'expected'),
    [
        ('1::Toy Story\n', "movies.dat', line 1: has 2 fields, expected 3"),
        (f'{FILMS}1::Twice::Drama\n', "line 5: film is '1', expected an item"),
    ],
)
def test_movie_lens_1m_refuses_films(tmp_path, films, expected):
    assert expected in error_of(tmp_path, archive_of(films=films))


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'template': '{plot}'}, 'title, genres, and the columns of a table'),
        ({'template': 'text'}, 'A template needs fields in braces'),
        ({'k_core': 0}, "'k_core' needs to be a whole number, at least 1"),
        ({'image_column': 'photo'}, "'image_column' needs"),
        ({'features': {'text': 'a.npy'}}, 'which is that of texts'),
        ({'limits': Limits(file=20)}, "raise 'file' of limits="),
    ],
)
def test_movie_lens_1m_refuses_arguments(tmp_path, options, expected):
    assert expected in error_of(tmp_path, **options)


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'no zip', 'is not a whole zip archive'),
        (archive_of()[:-30], 'is not a whole zip archive'),
    ],
    ids=['other', 'cut'],
)
def test_movie_lens_1m_refuses_archives(tmp_path, content, expected):
    assert expected in error_of(tmp_path, content, template=None)


def test_movie_lens_1m_on_real_posters(tmp_path, shared):
    folder = shared / 'data' / 'ml-1m-posters'
    if not folder.is_dir():
        pytest.skip("needs the folder 'ml-1m-posters' in 'shared/data'")
    table = pd.read_csv(folder / 'items.tsv', sep='\t', dtype=str)
    ids = table['movielens_id'].tolist()
    lines = []
    with open(folder / 'interactions_by_user_in_time_order.txt') as file:
        for line, _ in zip(file, range(150), strict=False):
            user, *items = line.split()
            lines += [
                f'{user}::{ids[int(item)]}::5::{time}'
                for time, item in enumerate(items)
            ]
    films = [
        f'{row.movielens_id}::{row.title}::{row.genres}'
        for row in table.itertuples()
    ]
    films = '\n'.join(films).encode('latin-1', 'replace').decode('latin-1')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Of what the 5-core leaves out.
        dataset = opened(
            tmp_path,
            archive_of('\n'.join(lines) + '\n', films + '\n'),
            items=folder / 'items.tsv',
            item_column='movielens_id',
            posters=folder / 'posters_128x192.zip',
            template='{title}. {plot}',
            k_core=5,
        )
    data = dataset[0]
    check(data, splits=('val', 'test'))
    assert 100 < len(dataset.users) <= 150
    has = dict(zip(ids, table['has_poster'] == '1', strict=True))
    wanted = [has[item] for item in dataset.items]
    assert (
        data['item'].get('has_image', torch.tensor(wanted)).tolist() == wanted
    )
    first = dataset.items[wanted.index(True)]
    with zipfile.ZipFile(folder / 'posters_128x192.zip') as file:
        image = Image.open(io.BytesIO(file.read(f'{first}.jpg')))
    row = dataset.items.index(first)
    expected = torch.tensor(Stat(image.convert('RGB')).mean)
    assert data['item'].x_image[row].allclose(expected)
    plots = dict(zip(ids, table['plot'].fillna(''), strict=True))
    title = data['item'].title[row]
    assert (
        data['item']
        .x_text[row]
        .equal(Hashes()([f'{title}. {plots[first]}'])[0])
    )
