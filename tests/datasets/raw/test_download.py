import gzip
import hashlib
import io
import json
import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Event, Thread
from types import SimpleNamespace

import numpy as np
import pooch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.raw.download import download, verify
from pyg_ckd.datasets.raw.recipe import RawFile

NOBODY = 65534
ITEM_SIZE = 10 + 4 * 4096


def lines(*records):
    text = ''.join(f'{json.dumps(record)}\n' for record in records)
    return gzip.compress(text.encode(), mtime=0)


def image_features(*asins):
    rows = np.empty(len(asins), [('asin', 'S10'), ('x', '<f4', 4096)])
    rows['asin'] = asins
    rows['x'] = np.arange(4096)
    return rows.tobytes()


REVIEWS = lines(
    {'reviewerID': 'A1', 'asin': 'B000000001', 'overall': 5.0},
    {'reviewerID': 'A2', 'asin': 'B000000002', 'overall': 1.0},
)
METADATA = lines({'asin': 'B000000001', 'title': 'A title'})
IMAGE = image_features('B000000001', 'B000000002')
HTML = b'<html><body>This server is down for maintenance.</body></html>'


class Mirror(ThreadingHTTPServer):
    """A server that answers the requests for a file with replies in turn."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Request)
        self.replies = {}
        self.requests = []
        self.closing = Event()

    def serve(self, name, *replies):
        """Return the URL of a file. The last reply is repeated."""
        self.replies[name] = replies
        return f'http://127.0.0.1:{self.server_port}/{name}'


class Request(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix('/')
        replies = self.server.replies[name]
        turn = self.server.requests.count(name)
        self.server.requests.append(name)
        replies[min(turn, len(replies) - 1)](self)

    def start(self, **headers):
        self.send_response(200)
        for key, value in headers.items():
            self.send_header(key.replace('_', '-'), value)
        self.end_headers()

    def log_message(self, *args):
        pass


def whole(content, **headers):
    def reply(request):
        request.start(Content_Length=len(content), **headers)
        request.wfile.write(content)

    return reply


def compressed(content):
    """Compress on the way, as servers may for a client that accepts it."""

    def reply(request):
        if 'gzip' in request.headers['Accept-Encoding']:
            whole(gzip.compress(content), Content_Encoding='gzip')(request)
        else:
            whole(content)(request)

    return reply


def no_length(content):
    def reply(request):
        request.start()
        request.wfile.write(content)

    return reply


def cut(content, at):
    def reply(request):
        request.start(Content_Length=len(content))
        request.wfile.write(content[:at])

    return reply


def slow(content, pause, pieces=8):
    def reply(request):
        request.start(Content_Length=len(content))
        size = -(-len(content) // pieces)
        for start in range(0, len(content), size):
            request.server.closing.wait(pause)
            request.wfile.write(content[start : start + size])

    return reply


def silent(content=None):
    """Stop to answer, at once or after half of the content."""

    def reply(request):
        if content is not None:
            request.start(Content_Length=len(content))
            request.wfile.write(content[: len(content) // 2])
        request.server.closing.wait(10)

    return reply


def dripping(start, more):
    """Begin an answer, and send more of it without an end."""

    def reply(request):
        request.wfile.write(start)
        while not request.server.closing.wait(0.02):
            request.wfile.write(more)

    return reply


def status(code):
    return lambda request: request.send_error(code)


def moved(url):
    def reply(request):
        request.send_response(301)
        request.send_header('Location', url)
        request.end_headers()

    return reply


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with Mirror() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def pauses(monkeypatch):
    """Return the pauses before retries, which are not waited for."""
    pauses = []
    clock = SimpleNamespace(sleep=pauses.append)
    monkeypatch.setattr(pooch.core, 'time', clock)
    return pauses


@pytest.fixture
def unreachable():
    """Return the URL of a file on a port on which nobody listens."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    return f'http://127.0.0.1:{port}/image.b'


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def files_in(folder):
    """Return the content of files, which has none of a temporary file."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name not in ('.download.lock', 'SHA256SUMS')
    }


def noted_in(folder):
    """Return the checksums of files that are noted in a folder."""
    rows = (folder / 'SHA256SUMS').read_text().splitlines()
    return {row[66:]: row[:64] for row in rows}


def error_of(files, folder, retries=0, timeout=10.0):
    with pytest.raises(ConnectionError, match='could be downloaded') as info:
        download(files, folder, retries, timeout)
    return str(info.value)


@contextmanager
def full_disk(size):
    """Let no file grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only_folder(**files):
    """Create a folder with files that cannot be written, not even by root."""
    # Only root may enter the folder of `tmp_path`:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name.replace('_', '.')).write_bytes(content)
        os.chmod(folder, 0o555)
        is_root = os.getuid() == 0
        if is_root:
            os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.setresuid(0, 0, 0)
            os.chmod(folder, 0o755)


# What arrives is kept #########################################################


@pytest.mark.parametrize('reply', [whole, no_length, compressed])
def test_download(tmp_path, mirror, reply):
    contents = {'r.json.gz': REVIEWS, 'm.json.gz': METADATA, 'image.b': IMAGE}
    files = [
        RawFile(name, (mirror.serve(name, reply(content)),))
        for name, content in contents.items()
    ]
    folder = tmp_path / 'new' / 'raw'
    download(iter(files), folder)
    assert files_in(folder) == contents
    assert noted_in(folder) == {
        name: sha256(content) for name, content in contents.items()
    }

    download(files, folder)  # All is there.
    assert sorted(mirror.requests) == sorted(contents)


def test_download_is_readable_for_others(tmp_path, mirror):
    file = RawFile('image.b', (mirror.serve('image.b', whole(IMAGE)),))
    before = os.umask(0o022)
    try:
        download([file], tmp_path)
    finally:
        os.umask(before)
    for name in ['image.b', 'SHA256SUMS']:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o644


def test_download_only_what_is_missing(tmp_path, mirror):
    first = RawFile('a.gz', (mirror.serve('a.gz', whole(METADATA)),))
    url = mirror.serve('b.gz', status(503), whole(REVIEWS))
    second = RawFile('b.gz', (url,))
    error_of([first, second], tmp_path)
    assert files_in(tmp_path) == {'a.gz': METADATA}
    download([first, second], tmp_path)
    assert files_in(tmp_path) == {'a.gz': METADATA, 'b.gz': REVIEWS}
    assert mirror.requests == ['a.gz', 'b.gz', 'b.gz']


def test_download_below_home(tmp_path, mirror, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    file = RawFile('image.b', (mirror.serve('image.b', whole(IMAGE)),))
    download([file], '~/raw')
    assert os.listdir(tmp_path) == ['home']
    assert files_in(tmp_path / 'home' / 'raw') == {'image.b': IMAGE}
    (tmp_path / 'home' / 'raw' / 'image.b').write_bytes(IMAGE[:ITEM_SIZE])
    with pytest.raises(ValueError, match='SHA-256'):
        verify([file], '~/raw')


@pytest.mark.parametrize('declared', ['gzip', 'x-gzip', 'deflate'])
def test_download_declared_as_encoding(tmp_path, mirror, declared):
    # Such a server means a file that is compressed already:
    target = mirror.serve('b.gz', whole(REVIEWS, Content_Encoding=declared))
    file = RawFile('a.gz', (mirror.serve('a.gz', moved(target)),))
    download([file], tmp_path)
    assert files_in(tmp_path) == {'a.gz': REVIEWS}


@pytest.mark.parametrize('reply', [whole, no_length])
def test_download_progress(tmp_path, mirror, monkeypatch, reply):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, 'stderr', terminal)
    file = RawFile('a.gz', (mirror.serve('a.gz', reply(REVIEWS)),))
    download([file], tmp_path)
    assert files_in(tmp_path) == {'a.gz': REVIEWS}
    assert 'a.gz: ' in terminal.getvalue()
    assert 'Checking: ' in terminal.getvalue()


def test_download_at_once(tmp_path, mirror):
    contents = {'a.gz': REVIEWS, 'b.gz': METADATA, 'image.b': IMAGE}
    files = [
        RawFile(name, (mirror.serve(name, slow(content, 0.02)),))
        for name, content in contents.items()
    ]
    start = Barrier(3)
    errors = []

    def run():
        start.wait()
        try:
            download(files, tmp_path)
        except Exception as error:
            errors.append(error)

    threads = [Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert files_in(tmp_path) == contents
    assert sorted(mirror.requests) == sorted(contents)  # Once each.
    assert sorted(noted_in(tmp_path)) == sorted(contents)


# What does not is not #########################################################

# Replies to the request for `image.b`, and what is said about them:
FAILURES = {
    'not found': (status(404), '404 Client Error'),
    'broken': (status(500), '500 Server Error'),
    'web page': (whole(HTML), f'features ({len(HTML)} bytes'),
    'empty': (whole(b''), 'the file is empty'),
    'cut': (cut(IMAGE, 20_000), 'IncompleteRead(20000 bytes read'),
    'cut between items': (cut(IMAGE, ITEM_SIZE), 'IncompleteRead'),
    'cut before data': (cut(IMAGE, 0), 'IncompleteRead(0 bytes read'),
    'cut, no length': (no_length(IMAGE[:-1]), 'a multiple of 16394'),
    'silent': (silent(), 'timed out'),
    'silent half-way': (silent(IMAGE), 'timed out'),
}


@pytest.mark.parametrize(
    ('reply', 'expected'), FAILURES.values(), ids=FAILURES.keys()
)
def test_download_failure(tmp_path, mirror, reply, expected):
    bad = mirror.serve('bad', reply)
    message = error_of([RawFile('image.b', (bad,))], tmp_path, timeout=0.5)
    assert f'\n  image.b\n    {bad}: ' in message
    assert expected in message
    assert files_in(tmp_path) == {}
    assert not (tmp_path / 'SHA256SUMS').exists()
    assert mirror.requests == ['bad']


@pytest.mark.parametrize(
    'reply', [reply for reply, _ in FAILURES.values()], ids=FAILURES.keys()
)
def test_download_next_mirror(tmp_path, mirror, reply):
    bad = mirror.serve('bad', reply)
    good = mirror.serve('good', whole(IMAGE))
    download([RawFile('image.b', (bad, good))], tmp_path, 0, timeout=0.5)
    assert files_in(tmp_path) == {'image.b': IMAGE}
    assert mirror.requests == ['bad', 'good']


@pytest.mark.parametrize(
    'reply',
    [whole(HTML), no_length(REVIEWS[:-1]), whole(REVIEWS + HTML), whole(b'')],
    ids=['web page', 'cut', 'more', 'empty'],
)
def test_download_no_gzip(tmp_path, mirror, reply):
    url = mirror.serve('a.gz', reply)
    message = error_of([RawFile('a.gz', (url,))], tmp_path)
    assert f'{url}: ' in message
    assert 'not a complete gzip file (' in message or 'is empty' in message
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize('retries', [0, 1, 3])
@pytest.mark.parametrize(
    'reply',
    [status(500), cut(IMAGE, ITEM_SIZE), whole(HTML)],
    ids=['broken', 'cut', 'web page'],
)
def test_download_retries(tmp_path, mirror, pauses, reply, retries):
    url = mirror.serve('image.b', reply)
    error_of([RawFile('image.b', (url,))], tmp_path, retries)
    assert len(mirror.requests) == 1 + retries
    assert len(pauses) == retries
    assert files_in(tmp_path) == {}

    url = mirror.serve('late.b', *[reply] * retries, whole(IMAGE))
    download([RawFile('late.b', (url,))], tmp_path, retries)
    assert files_in(tmp_path) == {'late.b': IMAGE}


def test_download_slow(tmp_path, mirror):
    # Slow is not silent:
    url = mirror.serve('image.b', slow(IMAGE, pause=0.1))
    download([RawFile('image.b', (url,))], tmp_path, 0, timeout=0.5)
    assert files_in(tmp_path) == {'image.b': IMAGE}


@pytest.mark.parametrize(
    ('start', 'more'),
    [
        (b'', b'x'),
        (b'', b'HTTP/1.1 100 Continue\r\n\r\n'),
        (b'HTTP/1.1 200 OK\r\n', b'X-More: 1\r\n'),
        (b'HTTP/1.1 200 OK\r\nX-More: ', b'x'),
    ],
)
def test_download_headers_that_drip(tmp_path, mirror, start, more):
    # No byte is late, and the last one never comes:
    bad = mirror.serve('bad', dripping(start, more))
    good = mirror.serve('good', whole(IMAGE))
    file = RawFile('image.b', (bad,))
    begin = time.monotonic()
    message = error_of([file], tmp_path, timeout=0.3)
    assert f'\n  image.b\n    {bad}: ' in message
    assert 'timed out' in message
    assert files_in(tmp_path) == {}
    moving = mirror.serve('moving', moved(bad))
    file = RawFile('image.b', (moving, good))
    download([file], tmp_path, 0, timeout=0.3)
    assert files_in(tmp_path) == {'image.b': IMAGE}
    assert time.monotonic() - begin < 2.5


def test_download_unreachable(tmp_path, mirror, unreachable):
    message = error_of([RawFile('image.b', (unreachable,))], tmp_path)
    assert f'{unreachable}: ' in message
    assert 'Connection refused' in message
    good = mirror.serve('image.b', whole(IMAGE))
    download([RawFile('image.b', (unreachable, good))], tmp_path, 0)
    assert files_in(tmp_path) == {'image.b': IMAGE}


def test_download_all_mirrors_fail(tmp_path, mirror, unreachable):
    lost = mirror.serve('lost', status(404))
    page = mirror.serve('page', whole(HTML))
    good = mirror.serve('good', whole(IMAGE))
    files = [
        RawFile('reviews.json.gz', (lost, page)),
        RawFile('image.b', (good,)),
        RawFile('meta.json.gz', (unreachable,), sha256(METADATA)),
    ]
    message = error_of(files, tmp_path)
    first, *rows, last = message.split('\n')
    assert first == 'Not all files could be downloaded:'
    assert [row for row in rows if row[:3] != '   '] == [
        '  reviews.json.gz',
        '  meta.json.gz',
    ]
    for url in (lost, page, unreachable):
        assert f'\n    {url}: ' in message
    assert good not in message
    assert f'is expected to be {sha256(METADATA)};' in rows[-1]
    assert f"put them into '{tmp_path}' under these names" in last
    assert files_in(tmp_path) == {'image.b': IMAGE}
    assert list(noted_in(tmp_path)) == ['image.b']

    # As it says:
    (tmp_path / 'reviews.json.gz').write_bytes(REVIEWS)
    (tmp_path / 'meta.json.gz').write_bytes(METADATA)
    download(files, tmp_path)
    assert len(noted_in(tmp_path)) == 3
    assert mirror.requests == ['lost', 'page', 'good']


@pytest.mark.parametrize(
    ('name', 'value'), [('retries', -1), ('timeout', 0), ('timeout', -1.0)]
)
def test_download_wrong_argument(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"'{name}' needs .* {value}"):
        download([], tmp_path, **{name: value})


# Checksums ####################################################################


def test_download_known_checksum(tmp_path, mirror):
    # A name that says nothing about what is in it needs one:
    url = mirror.serve('a.npy', whole(b'content'))
    message = error_of([RawFile('a.npy', (url,))], tmp_path)
    assert "cannot be checked without a 'sha256' in its recipe" in message

    known = sha256(b'content')
    download([RawFile('a.npy', (url,), known)], tmp_path)
    assert files_in(tmp_path) == {'a.npy': b'content'}
    assert noted_in(tmp_path) == {'a.npy': known}


def test_download_wrong_checksum(tmp_path, mirror):
    known = sha256(REVIEWS)
    bad = mirror.serve('bad', whole(METADATA))
    file = RawFile('a.gz', (bad,), known)
    message = error_of([file], tmp_path)
    for part in [f'  a.gz\n    {bad}: ', sha256(METADATA), known]:
        assert part in message
    assert "change its 'sha256' in the recipe" in message
    assert files_in(tmp_path) == {}
    assert not (tmp_path / 'SHA256SUMS').exists()

    good = mirror.serve('good', whole(REVIEWS))
    download([file._replace(urls=(bad, good))], tmp_path, retries=0)
    assert files_in(tmp_path) == {'a.gz': REVIEWS}


def test_download_notes_unknown_checksum(tmp_path, mirror):
    url = mirror.serve('a.gz', whole(REVIEWS), whole(METADATA))
    file = RawFile('a.gz', (url,))
    download([file], tmp_path)
    checksums = tmp_path / 'SHA256SUMS'
    assert checksums.read_text() == f'{sha256(REVIEWS)}  a.gz\n'

    # Another file in its place, even if that is complete:
    (tmp_path / 'a.gz').write_bytes(METADATA)
    for check in (download, verify):
        with pytest.raises(ValueError, match='SHA-256') as info:
            check([file], tmp_path)
        for part in [
            f"'{tmp_path / 'a.gz'}'",
            f'is {sha256(METADATA)}, expected {sha256(REVIEWS)}',
            f"delete its line in '{checksums}'",
        ]:
            assert part in str(info.value)

    # Another one at the mirror:
    (tmp_path / 'a.gz').unlink()
    message = error_of([file], tmp_path)
    assert f'is expected to be {sha256(REVIEWS)};' in message
    assert f"delete its line in '{checksums}'" in message
    assert files_in(tmp_path) == {}

    # As it says:
    checksums.write_text('')
    download([file], tmp_path)
    assert checksums.read_text() == f'{sha256(METADATA)}  a.gz\n'


def test_download_checks_before_it_fetches(tmp_path, mirror):
    (tmp_path / 'a.gz').write_bytes(HTML)
    files = [
        RawFile('b.gz', (mirror.serve('b.gz', whole(REVIEWS)),)),
        RawFile('a.gz', ('http://127.0.0.1/a.gz',)),
    ]
    with pytest.raises(ValueError, match=r"a\.gz'"):
        download(files, tmp_path)
    assert mirror.requests == []


def test_checksums_are_those_of_sha256sum(tmp_path, mirror):
    if not shutil.which('sha256sum'):
        pytest.skip("needs the command 'sha256sum'")
    for name, content in [('b.gz', REVIEWS), ('a.gz', METADATA)]:
        file = RawFile(name, (mirror.serve(name, whole(content)),))
        download([file], tmp_path)
    run = subprocess.run(
        ['sha256sum', '--check', '--strict', 'SHA256SUMS'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, 'LC_ALL': 'C'},
    )
    assert run.stdout == 'a.gz: OK\nb.gz: OK\n'


@pytest.mark.parametrize('row', ['{}  {}\n', '{} *{}\r\n', '{}  {}'])
def test_checksums_of_others(tmp_path, row):
    (tmp_path / 'a.gz').write_bytes(REVIEWS)
    file = RawFile('a.gz', ())
    checksums = tmp_path / 'SHA256SUMS'
    checksums.write_text(row.format(sha256(REVIEWS).upper(), 'a.gz'))
    verify([file], tmp_path)
    checksums.write_text(row.format(sha256(METADATA), 'a.gz'))
    with pytest.raises(ValueError, match='SHA-256'):
        verify([file], tmp_path)


def test_checksums_of_other_files_are_kept(tmp_path):
    (tmp_path / 'a.gz').write_bytes(REVIEWS)
    row = f'{"0" * 64}  a name é.csv\n'
    (tmp_path / 'SHA256SUMS').write_bytes(row.encode('latin-1'))
    verify([RawFile('a.gz', ())], tmp_path)
    assert (tmp_path / 'SHA256SUMS').read_bytes() == (
        row + f'{sha256(REVIEWS)}  a.gz\n'
    ).encode('latin-1')


@pytest.mark.parametrize(
    ('row', 'expected'),
    [
        (f'{"0" * 63}  b.gz', 'expected 64 hexadecimal digits'),
        (f'{"0" * 65}  b.gz', 'expected 64 hexadecimal digits'),
        (f'{"g" * 64}  b.gz', 'expected 64 hexadecimal digits'),
        (f'{"0" * 64} b.gz', 'two spaces and the name of a file'),
        (f'{"0" * 64}  ', 'two spaces and the name of a file'),
        ('b.gz', 'delete the line'),
        ('', 'delete the line'),
        (f'{"0" * 64}  a.gz', "'a.gz' is listed twice"),
    ],
)
def test_checksums_malformed(tmp_path, mirror, row, expected):
    file = RawFile('a.gz', (mirror.serve('a.gz', whole(REVIEWS)),))
    checksums = tmp_path / 'SHA256SUMS'
    text = f'{"1" * 64}  a.gz\n{row}\n{"2" * 64}  c.gz\n'
    checksums.write_text(text)
    for check in (download, verify):
        with pytest.raises(ValueError, match='line 2') as info:
            check([file], tmp_path)
        assert str(info.value).startswith(f"'{checksums}', line 2: ")
        assert expected in str(info.value)
    assert checksums.read_text() == text
    assert mirror.requests == []


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.sampled_from([b'0' * 64, b'  ', b' *', b'a.gz', b'\n', b'\r'])
        | st.binary(max_size=4),
        max_size=12,
    ).map(b''.join)
)
def test_checksums_any_content(text):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, 'a.gz').write_bytes(METADATA)
        path = Path(folder, 'SHA256SUMS')
        path.write_bytes(text)
        try:
            verify([RawFile('a.gz', ())], folder)
        except ValueError as error:
            assert str(error).startswith((f"'{path}', line ", f"'{folder}/a"))
            assert path.read_bytes() == text
        else:
            row = f'{sha256(METADATA)}  a.gz'.encode()
            assert row in path.read_bytes().splitlines()


# Files put there by hand ######################################################


@pytest.mark.parametrize('known', [True, False])
def test_by_hand(tmp_path, known):
    contents = {'a.gz': REVIEWS, 'image.b': IMAGE}
    files = [
        RawFile(name, (), sha256(content) if known else None)
        for name, content in contents.items()
    ]
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    download(files, tmp_path)
    assert files_in(tmp_path) == contents
    assert list(noted_in(tmp_path)) == ['a.gz', 'image.b']


def test_by_hand_wrong_checksum(tmp_path):
    (tmp_path / 'a.gz').write_bytes(METADATA)
    with pytest.raises(ValueError, match='SHA-256') as info:
        download([RawFile('a.gz', (), sha256(REVIEWS))], tmp_path)
    for part in [
        f"'{tmp_path / 'a.gz'}'",
        f'is {sha256(METADATA)}, expected {sha256(REVIEWS)}',
        "change its 'sha256' in the recipe",
    ]:
        assert part in str(info.value)
    assert not (tmp_path / 'SHA256SUMS').exists()


@pytest.mark.parametrize(
    ('name', 'content', 'expected'),
    [
        ('a.gz', HTML, 'not a complete gzip file (Not a gzipped file'),
        ('a.gz', b'', 'the file is empty'),
        ('a.gz', gzip.decompress(REVIEWS), 'not a complete gzip file'),
        ('a.gz', REVIEWS[:10] + b'\xff' * 99, '(Error -3 while decompressing'),
        ('a.b', b'', 'the file is empty'),
        ('a.b', IMAGE + b'0', f'{2 * ITEM_SIZE + 1} bytes, expected a'),
        ('a.npy', b'0', "without a 'sha256' in its recipe"),
    ],
)
def test_by_hand_not_complete(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    for check in (download, verify):
        with pytest.raises(ValueError, match='delete it') as info:
            check([RawFile(name, ())], tmp_path)
        assert str(info.value).startswith(f"'{tmp_path / name}': ")
        assert expected in str(info.value)
    assert files_in(tmp_path) == {name: content}
    assert not (tmp_path / 'SHA256SUMS').exists()


def test_by_hand_cut_anywhere(tmp_path):
    path = tmp_path / 'a.gz'
    for size in range(len(REVIEWS)):
        path.write_bytes(REVIEWS[:size])
        with pytest.raises(ValueError, match=r'complete|empty'):
            verify([RawFile('a.gz', ())], tmp_path)


# Folders that cannot be written ###############################################


def test_download_full_disk(tmp_path, mirror):
    files = [
        RawFile('a.gz', (mirror.serve('a.gz', whole(REVIEWS)),)),
        RawFile('image.b', (mirror.serve('image.b', whole(IMAGE)),)),
    ]
    with pytest.raises(OSError, match='could not') as info, full_disk(20_000):
        download(files, tmp_path)
    assert not isinstance(info.value, ConnectionError)
    message = str(info.value)
    assert f"'{tmp_path / 'image.b'}' could not be written (" in message
    assert 'make room, or choose another folder' in message
    assert files_in(tmp_path) == {'a.gz': REVIEWS}
    assert list(noted_in(tmp_path)) == ['a.gz']


def test_download_read_only(mirror):
    file = RawFile('a.gz', (mirror.serve('a.gz', whole(REVIEWS)),))
    with read_only_folder() as folder:
        for target in [folder, folder / 'new']:
            with pytest.raises(PermissionError) as info:
                download([file], target)
            assert f"'{target}' cannot be written" in str(info.value)
        assert os.listdir(folder) == []
    assert mirror.requests == []


def test_verify_read_only():
    files = [RawFile('a.gz', ()), RawFile('image.b', ())]
    with read_only_folder(a_gz=REVIEWS, image_b=IMAGE) as folder:
        for check in (download, verify):
            check(files, folder)
        assert sorted(os.listdir(folder)) == ['a.gz', 'image.b']
    with read_only_folder(a_gz=HTML) as folder:
        for check in (download, verify):
            with pytest.raises(ValueError, match='not a complete gzip'):
                check(files[:1], folder)


def test_verify_skips_missing_files(tmp_path):
    verify([RawFile('a.gz', ())], tmp_path / 'no folder')
    assert os.listdir(tmp_path) == []
    verify([RawFile('a.gz', ())], tmp_path)
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize('name', ['SHA256SUMS', 'image.b'])
def test_pipes_are_not_waited_for(tmp_path, name):
    (tmp_path / 'image.b').write_bytes(bytes(16_394))
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    file = RawFile('image.b', ('https://example.org/image.b',), '0' * 64)
    with pytest.raises(ValueError, match=f"{name}' is no regular file"):
        verify([file], tmp_path)


def test_a_line_of_checksums_without_end(tmp_path):
    (tmp_path / 'SHA256SUMS').write_bytes(b'0' * 64 + b'  ' + b'x' * 10_000_000)
    with pytest.raises(ValueError, match=r"SHA256SUMS', line 2: expected 64"):
        verify([], tmp_path)
