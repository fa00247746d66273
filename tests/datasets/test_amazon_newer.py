"""`AmazonReviews2023` and `Amazon2018`, from files of a local server."""

import gzip
import io
import json
import shutil
import warnings
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image

from pyg_ckd.datasets.amazon_2018 import Amazon2018
from pyg_ckd.datasets.amazon_multimodal import AmazonMultimodal
from pyg_ckd.datasets.amazon_reviews_2023 import AmazonReviews2023
from pyg_ckd.datasets.features.picture_urls import PictureDownload
from pyg_ckd.datasets.formats.amazon_releases import AMAZON_2018, AMAZON_2023
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits import LeaveOneOut, RandomSplit
from pyg_ckd.datasets.splits.benchmark_split import BenchmarkSplit
from pyg_ckd.graph import RATES

CATEGORY = 'All_Beauty'
ITEMS = [f'B00000000{i}' for i in range(6)]
USERS = [f'AE{i}' for i in range(6)]
# Each user and item five times, in the order of time, milliseconds apart:
PAIRS = [
    (user, item) for u, user in enumerate(USERS) for item in ITEMS
    if item != ITEMS[u]
]  # fmt: skip
TIME = 1_588_687_728_000
# Of all but the last item a text, of all but the first two a picture:
TITLES = {item: f'Cup &amp; saucer {i}' for i, item in enumerate(ITEMS[:5])}
COLOURS = dict(
    zip(
        ITEMS[2:],
        [(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)],
        strict=True,
    )
)


class Length:
    """The lengths of texts."""

    def __call__(self, texts):
        self.texts = texts
        return torch.tensor([[len(text), 1.0] for text in texts])

    def __repr__(self):
        return 'Length()'


class Colour:
    """The colours of pictures of one colour."""

    def __call__(self, images):
        return np.array([image.getpixel((1, 1)) for image in images])

    def __repr__(self):
        return 'Colour()'


def colour(x):
    return x.round(decimals=-1).int().tolist()


class Server(ThreadingHTTPServer):
    def __init__(self, folder):
        self.asked = []
        super().__init__(('127.0.0.1', 0), partial(Files, directory=folder))

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server_port}/'


class Files(SimpleHTTPRequestHandler):
    """Files as they are, below ``/cut/`` the first half of what is promised."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if not self.path.startswith('/cut/'):
            super().do_GET()
            return
        content = Path(self.directory, self.path[len('/cut/') :]).read_bytes()
        self.send_response(200)
        self.send_header('Content-Length', len(content))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve the folder ``served``."""
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setattr('pooch.core.time.sleep', lambda seconds: None)
    folder = tmp_path / 'served'
    folder.mkdir()
    with Server(folder) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def put(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = ''.join(f'{line}\n' for line in lines).encode()
    path.write_bytes(gzip.compress(content, mtime=0))


def put_pictures(folder, url):
    """Return the URL of each item's picture; that of the third is damaged."""
    folder.mkdir(parents=True)
    urls = {}
    for item, rgb in COLOURS.items():
        file = io.BytesIO()
        Image.new('RGB', (40, 30), rgb).save(file, 'JPEG')
        content = file.getvalue()
        (folder / f'{item}.jpg').write_bytes(
            content[:-30] if item == ITEMS[2] else content
        )
        urls[item] = f'{url}I/{item}.jpg'
    (folder / f'{ITEMS[3]}.jpg').unlink()  # That of the fourth is not there.
    return urls


def serve_2018(folder, url):
    reviews = [
        {'overall': 5.0, 'verified': True, 'reviewTime': '09 13, 2009',
         'reviewerID': user, 'asin': item, 'reviewText': 'Good',
         'unixReviewTime': TIME // 1000 + row}
        for row, (user, item) in enumerate(PAIRS)
    ]  # fmt: skip
    reviews.append({**reviews[3], 'unixReviewTime': TIME, 'overall': 1.0})
    pictures = put_pictures(folder / 'I', url)
    products = [
        {'category': ['Home', 'Cups'], 'tech1': '', 'description': ['A', 'b'],
         'title': TITLES.get(item, ''), 'brand': '', 'feature': [],
         'rank': [], 'also_view': [], 'main_cat': '', 'price': '$3.17',
         'asin': item, 'imageURL': [],
         'imageURLHighRes': [pictures[item]] if item in pictures else []}
        for item in ['B999999999', *ITEMS]
    ]  # fmt: skip
    put(folder / f'categoryFilesSmall/{CATEGORY}_5.json.gz',
        map(json.dumps, reviews))  # fmt: skip
    put(folder / f'metaFiles2/meta_{CATEGORY}.json.gz',
        map(json.dumps, products))  # fmt: skip


def serve_2023(folder, url):
    times = [TIME + row for row in range(len(PAIRS))]
    reviews = [
        {'rating': 5.0, 'title': 'Good', 'text': 'Good', 'images': [],
         'asin': 'B0', 'parent_asin': item, 'user_id': user, 'timestamp': time,
         'helpful_vote': 0, 'verified_purchase': True}
        for (user, item), time in zip(PAIRS, times, strict=True)
    ]  # fmt: skip
    reviews.append({**reviews[3], 'timestamp': TIME + 999, 'rating': 1.0})
    reviews.append({**reviews[3], 'user_id': 'A0', 'timestamp': TIME + 999})
    pictures = put_pictures(folder / 'I', url)
    products = []
    for item in ['B999999999', *ITEMS]:
        image = {'thumb': 'x', 'large': pictures.get(item), 'hi_res': None}
        products.append(
            {'main_category': None, 'title': TITLES.get(item, ''),
             'features': [], 'description': [], 'price': None,
             'images': [{'variant': 'PT01', **image},
                        {'variant': 'MAIN', **image}],
             'videos': [], 'store': None, 'categories': [], 'details': {},
             'parent_asin': item, 'bought_together': None}
        )  # fmt: skip
    put(folder / f'raw/review_categories/{CATEGORY}.jsonl.gz',
        map(json.dumps, reviews[::-1]))  # fmt: skip
    put(folder / f'raw/meta_categories/meta_{CATEGORY}.jsonl.gz',
        map(json.dumps, products))  # fmt: skip
    for core in (0, 5):
        rows = {'train': [], 'valid': [], 'test': []}
        for row, (user, item) in enumerate(PAIRS):
            part = {4: 'test', 3: 'valid'}.get(row % 5, 'train')
            rows[part].append(f'{user},{item},5.0,{times[row]}')
        if core == 0:  # Of one review, that is the last:
            rows['test'].append(f'A0,{ITEMS[3]},1.0,{TIME}')
        for part, lines in rows.items():
            name = f'benchmark/{core}core/last_out/{CATEGORY}.{part}.csv.gz'
            header = 'user_id,parent_asin,rating,timestamp'
            put(folder / name, [header, *lines])


SERVE = {'Amazon2018': serve_2018, 'AmazonReviews2023': serve_2023}
RELEASES = {'Amazon2018': AMAZON_2018, 'AmazonReviews2023': AMAZON_2023}
names = pytest.mark.parametrize('name', SERVE)


@pytest.fixture
def opened(tmp_path, server):
    """Return how to open a data set whose files are served."""

    def open_(
        name,
        root=tmp_path / 'root',
        category=CATEGORY,
        mirrors=('',),
        **kwargs,
    ):
        if not server.asked and not any((tmp_path / 'served').iterdir()):
            SERVE[name](tmp_path / 'served', server.url)
        base = {'Amazon2018': Amazon2018}.get(name, AmazonReviews2023)
        servers = tuple(f'{server.url}{mirror}' for mirror in mirrors)
        release = replace(RELEASES[name], servers=servers)
        mirrored = type('Mirrored', (base,), {'release': release})
        if 'features' not in kwargs:
            kwargs = {'template': '{title}', **kwargs}
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', '.*repeats a user and item')
            warnings.filterwarnings('ignore', 'k_core=5 leaves out')
            return mirrored(
                root,
                category,
                text_encoder=Length(),
                image_encoder=Colour(),
                **kwargs,
            )

    return open_


def quick(**kwargs):
    return PictureDownload(**{'pause': 0.0, 'timeout': 5.0, **kwargs})


@names
def test_data_sets_are_downloaded(tmp_path, server, opened, name):
    data = opened(name, split='leave_one_out')[0]
    folder = tmp_path / 'root' / name
    known = [path for path in server.asked if 'SHA256' not in path]
    assert len(known) == 2
    for path in known:
        got, source = folder / path[1:], tmp_path / 'served' / path[1:]
        assert got.read_bytes() == source.read_bytes()
        sums = got.with_name('SHA256SUMS').read_text()
        assert got.name in sums
    assert data['user'].name == USERS and data['item'].name == ITEMS
    texts = [len('Cup & saucer 0')] * 5
    x = data['item'].x_text
    assert x[:5, 0].tolist() == texts and x[5, 0] == texts[0]
    assert data['item'].has_text.tolist() == [True] * 5 + [False]
    assert data['item'].title == [
        *(f'Cup & saucer {i}' for i in range(5)),
        ITEMS[5],
    ]
    assert 'x_image' not in data['item']
    assert data.split == 'LeaveOneOut()'
    test = data[RATES].test_edge_label_index
    expected = [(u, 5 if u != 5 else 4) for u in range(6)]
    assert list(map(tuple, test.T.tolist())) == expected
    assert data[RATES].rating.unique().tolist() == [5.0]  # the earliest
    assert (data[RATES].time // 100).unique().tolist() == [TIME // 100_000]
    asked = len(server.asked)
    again = opened(name, split='leave_one_out')
    assert again[0]['item'].x_text.equal(x) and len(server.asked) == asked
    assert repr(again) == f"{name}('All_Beauty')"


def test_published_splits(tmp_path, server, opened):
    data = opened('AmazonReviews2023')[0]
    start = f'/benchmark/5core/last_out/{CATEGORY}'
    assert server.asked[:3] == [
        f'{start}.{part}.csv.gz' for part in ('train', 'valid', 'test')
    ]
    assert data.split == "BenchmarkSplit(rule='last_out', core=5)"
    raw = opened('AmazonReviews2023', split=LeaveOneOut())[0]
    for key in ('edge_index', 'val_edge_label_index', 'test_edge_label_index'):
        assert data[RATES][key].equal(raw[RATES][key]), key
    assert data[RATES].rating.equal(raw[RATES].rating)
    assert data[RATES].time.equal(raw[RATES].time)
    whole = opened('AmazonReviews2023', split=BenchmarkSplit(core=0))[0]
    assert whole['user'].name == ['A0', *USERS]
    assert whole[RATES].test_edge_label_index.size(1) == 7


def test_a_published_split_that_lacks_a_part(tmp_path, server, opened):
    SERVE['AmazonReviews2023'](tmp_path / 'served', server.url)
    part = f'benchmark/5core/last_out/{CATEGORY}.valid.csv.gz'
    put(tmp_path / 'served' / part, ['user_id,parent_asin,rating,timestamp'])
    with pytest.raises(
        ValueError, match='leaves no interaction for validation'
    ):
        opened('AmazonReviews2023')


@names
def test_pictures(tmp_path, server, opened, name):
    message = r"pictures' lacks the pictures of 2 of 4 items.*1 has status 404"
    with pytest.warns(UserWarning, match=message):
        dataset = opened(name, split=RandomSplit(), pictures=quick())
    data = dataset[0]
    folder = tmp_path / 'root' / name / CATEGORY / 'pictures'
    assert sorted(path.name for path in folder.glob('*.jpg')) == [
        f'{item}.jpg' for item in ITEMS[4:]
    ]
    (report,) = folder.glob('failures_*.csv')
    assert f'{ITEMS[2]},{server.url}I/{ITEMS[2]}.jpg' in report.read_text()
    has = [False] * 4 + [True] * 2
    assert data['item'].has_image.tolist() == has
    assert colour(data['item'].x_image[4:]) == [[0, 0, 250], [10, 10, 10]]

    # Opened again, nothing is asked for and nothing is built:
    asked = len(server.asked)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        again = opened(name, split=RandomSplit(), pictures=quick())
    assert again.processed_dir == dataset.processed_dir
    assert len(server.asked) == asked

    # Without the report, what is missing is tried again:
    shutil.copy(
        folder / f'{ITEMS[4]}.jpg', tmp_path / f'served/I/{ITEMS[3]}.jpg'
    )
    report.unlink()
    with pytest.warns(UserWarning, match='lacks the pictures of 1 of 4 items'):
        data = opened(name, split=RandomSplit(), pictures=quick())[0]
    assert sorted(server.asked[asked:]) == [
        f'/I/{item}.jpg' for item in ITEMS[2:4]
    ]
    assert data['item'].has_image.tolist() == [False] * 3 + [True] * 3

    # A picture that is put there by hand counts:
    Image.new('RGB', (9, 9), (200, 100, 0)).save(folder / f'{ITEMS[0]}.png')
    data = opened(name, split=RandomSplit(), pictures=quick())[0]
    assert colour(data['item'].x_image[:1]) == [[200, 100, 0]]


@names
def test_pictures_within_limits(opened, server, name):
    few = quick(max_items=3)
    with pytest.warns(UserWarning, match='1 is beyond max_items'):
        data = opened(name, split=RandomSplit(), pictures=few)[0]
    assert data['item'].has_image.nonzero().flatten().tolist() == [4]
    with pytest.warns(UserWarning, match='lacks the pictures of 2 of 4 items'):
        data = opened(name, split=RandomSplit(), pictures=quick())[0]
    assert data['item'].has_image.nonzero().flatten().tolist() == [4, 5]
    assert server.asked.count(f'/I/{ITEMS[4]}.jpg') == 1


def test_pictures_of_a_network_that_is_down(tmp_path, server, opened):
    """Nothing is built without them, and the next start goes on."""
    serve_2023(tmp_path / 'served', 'http://127.0.0.1:9/')
    arguments = {'split': RandomSplit(), 'pictures': quick(retries=0)}
    with pytest.raises(ConnectionError, match='4 pictures in a row'):
        opened('AmazonReviews2023', **arguments)
    own = tmp_path / 'root' / 'AmazonReviews2023' / CATEGORY
    assert not (own / 'processed').exists()
    folder = own / 'pictures'
    Image.new('RGB', (9, 9)).save(folder / f'{ITEMS[0]}.png')
    with pytest.raises(ConnectionError, match='4 pictures in a row'):
        opened('AmazonReviews2023', **arguments)
    for item in ITEMS[2:]:
        Image.new('RGB', (9, 9)).save(folder / f'{item}.png')
    data = opened('AmazonReviews2023', **arguments)[0]
    assert data['item'].has_image.tolist() == [True, False] + [True] * 4


@pytest.mark.filterwarnings('ignore:.*lacks the pictures of 2 of 4')
@names
def test_a_damaged_picture_that_was_put_there(tmp_path, opened, name):
    arguments = {'split': RandomSplit(), 'pictures': quick()}
    with pytest.warns(UserWarning, match='lacks the pictures'):
        opened(name, **arguments)
    folder = tmp_path / 'root' / name / CATEGORY / 'pictures'
    (folder / f'{ITEMS[0]}.png').write_bytes(b'none')
    with pytest.raises(
        ValueError, match=f"{ITEMS[0]}.png' is not a whole pict"
    ):
        opened(name, **arguments)
    with pytest.warns(UserWarning, match='1 pictures? skipped'):
        data = opened(name, skip_invalid=True, **arguments)[0]
    assert not data['item'].has_image[0]


@names
def test_features_of_a_folder(tmp_path, server, opened, name):
    vectors = tmp_path / 'vectors'
    vectors.mkdir()
    for i, item in enumerate(ITEMS[1:]):
        np.save(vectors / f'{item}.npy', np.float32([i, 1]))
    features = {'image': vectors, 'sound': str(vectors)}
    arguments = {'split': RandomSplit(), 'features': features}
    data = opened(name, template=None, **arguments)[0]
    assert data['item'].x_image[1:, 0].tolist() == [0, 1, 2, 3, 4]
    assert data['item'].has_image.tolist() == [False] + [True] * 5
    assert data['item'].x_sound.equal(data['item'].x_image)
    assert 'x_text' not in data['item']
    assert not any('meta' in path for path in server.asked)  # not needed
    np.save(vectors / f'{ITEMS[0]}.npy', np.float32([9, 9]))
    data = opened(name, template=None, **arguments)[0]
    assert data['item'].x_image[0].tolist() == [9, 9]
    shutil.rmtree(vectors)
    with pytest.raises(FileNotFoundError, match=f"There is no '{vectors}'"):
        opened(name, template=None, **arguments)


@names
def test_results_in_another_folder(tmp_path, opened, name):
    opened(name, split=RandomSplit(), processed_root=tmp_path / 'results')
    assert not (tmp_path / 'root' / name / CATEGORY).exists()
    own = tmp_path / 'results' / name / CATEGORY
    assert {path.name for path in own.iterdir()} == {'features', 'processed'}


@names
def test_k_core(tmp_path, opened, name):
    data = opened(name, split=RandomSplit(), k_core=1)[0]
    num_users = 6 if name == 'Amazon2018' else 7
    assert data['user'].num_nodes == num_users
    with pytest.raises(
        ValueError, match=r"no user and item have 6 inter.*'k_c"
    ):
        opened(name, split=RandomSplit(), k_core=6)


@names
@pytest.mark.parametrize('bad', ['gone/', 'cut/'])
def test_the_next_mirror(tmp_path, server, opened, name, bad):
    """The first has no file, or breaks each off, as often as it is asked."""
    split = {'split': 'leave_one_out'}
    data = opened(name, mirrors=(bad, ''), **split)[0]
    for path in (p for p in set(server.asked) if not p.startswith(f'/{bad}')):
        got = tmp_path / 'root' / name / path[1:]
        assert got.read_bytes() == (tmp_path / 'served' / path[1:]).read_bytes()
        assert server.asked.count(path) == 1
        assert server.asked.count(f'/{bad[:-1]}{path}') == 3
    expected = opened(name, tmp_path / 'other', **split)[0]
    assert data['item'].x_text.equal(expected['item'].x_text)
    assert data[RATES].edge_index.equal(expected[RATES].edge_index)


@names
def test_files_that_are_broken_off(tmp_path, server, opened, name):
    with pytest.raises(ConnectionError, match=r'cut/.*IncompleteRead') as info:
        opened(name, mirrors=('cut/',), split='leave_one_out')
    assert 'put them into' in str(info.value)
    assert not list((tmp_path / 'root').rglob('*.gz*'))
    assert not list((tmp_path / 'root').rglob('data.pt'))


@names
def test_files_of_another_checksum(tmp_path, server, opened, name):
    """A file is the one of the first time, here and at each mirror."""
    split = {'split': 'leave_one_out'}
    opened(name, **split)
    path = next(p for p in server.asked if 'meta_' in p)[1:]
    served, got = tmp_path / 'served' / path, tmp_path / 'root' / name / path
    put(served, gzip.decompress(served.read_bytes()).decode().split('\n')[1:-1])
    whole = got.read_bytes()
    got.unlink()
    with pytest.raises(ConnectionError, match=r'SHA-256 is expected to be'):
        opened(name, **split)
    assert not got.exists()
    got.write_bytes(served.read_bytes())
    with pytest.raises(ValueError, match=rf"'{got}': the SHA-256 is"):
        opened(name, **split)
    got.write_bytes(whole)
    assert opened(name, **split)[0]['item'].name == ITEMS


@names
def test_a_server_that_has_no_file(tmp_path, server, opened, name):
    (tmp_path / 'served' / 'x').mkdir()
    with pytest.raises(ConnectionError, match=r'404.*\n.*yourself'):
        opened(name, split=RandomSplit())


@names
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'category': 'Baby'}, '2014, which AmazonMultimodal reads'),
        ({'category': 'Beautiful'}, "'Beautiful' is not a category"),
        ({'k_core': 0}, r"'k_core' needs .* at least 1, .* \(got 0\)"),
        ({'image_size': 0}, r"'image_size' needs .* at least 1, .* \(got 0\)"),
        ({'template': '{brands}'}, r"'template' may have the fields title,"),
        ({'template': 'A'}, 'needs fields in braces'),
        ({'template': None}, "no modality; pass a 'template', 'pictures' or"),
        (
            {'template': '{title}', 'features': {'text': 'x'}},
            "'text', which is encoded as well; .*template=None",
        ),
        (
            {'pictures': PictureDownload(), 'features': {'image': 'x'}},
            "'image', which is encoded as well; .*pictures=None",
        ),
        ({'features': {'sound': 'x.npy'}}, "is a matrix .'x.npy'., whose rows"),
        ({'features': {'a b': 'x'}}, "the modality 'a b', which "),
        ({'split': 'last'}, "'split' is neither one of"),
    ],
)
def test_arguments_are_checked(opened, name, arguments, message):
    with pytest.raises(ValueError, match=message):
        opened(name, **{'split': RandomSplit(), **arguments})


def test_arguments_of_published_splits(opened):
    with pytest.raises(ValueError, match=r"'k_core' is that of raw .*last_out"):
        opened('AmazonReviews2023', k_core=5)
    message = r"no published 5-core.*BenchmarkSplit\('timestamp', core=0\)"
    with pytest.raises(ValueError, match=message):
        opened('AmazonReviews2023', category='Digital_Music', split='timestamp')
    with pytest.raises(
        ValueError, match="'rule' needs to be 'last_out' or 'ti"
    ):
        BenchmarkSplit('last')
    with pytest.raises(
        ValueError, match=r"'core' needs to be 0 or 5 \(got 1\)"
    ):
        BenchmarkSplit(core=1)
    interactions = Interactions.from_ids(['ann'], ['cup'])
    with pytest.raises(ValueError, match='splits its own interactions'):
        BenchmarkSplit()(interactions)


def test_files_of_another_release(tmp_path, server):
    """The class of 2014 says which reads them, and the other way round."""
    serve_2018(tmp_path / 'served', server.url)
    folder = tmp_path / 'Books' / 'raw'
    folder.mkdir(parents=True)
    reviews = tmp_path / f'served/categoryFilesSmall/{CATEGORY}_5.json.gz'
    metadata = tmp_path / f'served/metaFiles2/meta_{CATEGORY}.json.gz'
    shutil.copy(reviews, folder / 'Books_5.json.gz')
    with pytest.raises(ValueError, match='of 2018, which Amazon2018 reads'):
        AmazonMultimodal(tmp_path, 'Books', modalities=['text'])
    shutil.copy(reviews, folder / 'reviews_Books_5.json.gz')
    shutil.copy(metadata, folder / 'meta_Books.json.gz')
    with pytest.raises(ValueError, match='of 2018, which Amazon2018 reads'):
        AmazonMultimodal(tmp_path, 'Books', modalities=['text'])
    with pytest.raises(ValueError, match='2023, which AmazonReviews2023 reads'):
        AmazonMultimodal(tmp_path, 'Baby_Products')
    raw = tmp_path / 'AmazonReviews2023' / 'raw'
    for name, source in (
        ('review_categories/Books.jsonl.gz', reviews),
        ('meta_categories/meta_Books.jsonl.gz', metadata),
    ):
        (raw / name).parent.mkdir(parents=True)
        shutil.copy(source, raw / name)
    with pytest.raises(ValueError, match='of 2018, which Amazon2018 reads'):
        AmazonReviews2023(tmp_path, 'Books', split='random')
    for name in ('review_categories', 'meta_categories'):
        (raw / name / 'Books_5.json.gz').write_bytes(b'')
        for path in (raw / name).glob('*Books.jsonl.gz'):
            path.unlink()
    with pytest.raises(ValueError, match='of 2018, which Amazon2018 reads'):
        AmazonReviews2023(tmp_path, 'Books', split='random')
