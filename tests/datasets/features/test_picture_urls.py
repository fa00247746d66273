import csv
import gzip
import io
import os
import resource
import socket
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image

from pyg_ckd.datasets.features import picture_urls
from pyg_ckd.datasets.features.item_files import ItemFiles
from pyg_ckd.datasets.features.picture_urls import PictureDownload
from pyg_ckd.datasets.features.pictures import PICTURES
from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.datasets.raw.limits import Limits

ENDINGS = {
    **{'JPEG': '.jpg', 'PNG': '.png', 'WEBP': '.webp', 'GIF': '.gif'},
    **{'BMP': '.bmp', 'TIFF': '.tif', 'PPM': '.ppm'},
}


def picture(kind='JPEG', size=(32, 24), colour='red'):
    file = io.BytesIO()
    Image.new('RGB', size, colour).save(file, kind)
    return file.getvalue()


RED = picture()


class Shop(ThreadingHTTPServer):
    """A server that answers the requests for a path with replies in turn."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Request)
        self.replies = {}
        self.requests = []

    def serve(self, name, *replies):
        """Return the URL of a path. The last reply is repeated."""
        self.replies[name] = replies
        return f'http://127.0.0.1:{self.server_port}/{name}'

    def handle_error(self, *args):
        pass  # Clients may hang up.


class Request(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix('/')
        turn = self.server.requests.count(name)
        self.server.requests.append(name)
        replies = self.server.replies[name]
        replies[min(turn, len(replies) - 1)](self)

    def log_message(self, *args):
        pass


def reply(content=b'', status=200, **headers):
    def send(request):
        request.send_response(status)
        for key, value in {'Content_Length': len(content), **headers}.items():
            request.send_header(key.replace('_', '-'), value)
        request.end_headers()
        request.wfile.write(content)

    return send


def cut(content):
    """Promise more than is sent."""
    return reply(content[:-20], Content_Length=len(content))


def hang_up(request):
    request.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def shop(monkeypatch):
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    with Shop() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def quick(**kwargs):
    return PictureDownload(**{'pause': 0.0, 'timeout': 5.0, **kwargs})


def quietly(download, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return download(*args, **kwargs)


def files_in(folder):
    return sorted(
        path.name for path in Path(folder).iterdir() if path.suffix != '.csv'
    )


def rows_of(report):
    with open(report.path, newline='') as file:
        return list(csv.reader(file))


def test_pictures_are_downloaded(tmp_path, shop):
    contents = {kind: picture(kind) for kind in ENDINGS}
    urls = {
        f'B{kind}': shop.serve(f'I/{kind}.jpg', reply(content))
        for kind, content in contents.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        report = quick()(urls, tmp_path / 'pictures')
    names = sorted(f'B{kind}{ending}' for kind, ending in ENDINGS.items())
    assert files_in(report.folder) == names
    for kind, ending in ENDINGS.items():
        path = tmp_path / 'pictures' / f'B{kind}{ending}'
        assert path.read_bytes() == contents[kind]
    assert report[2:] == (0, len(ENDINGS), []) and report.reasons == {}
    assert rows_of(report) == [['item', 'url', 'reason']]
    files = ItemFiles(report.folder, PICTURES)
    assert all(item in files for item in urls)


@pytest.mark.parametrize(
    ('replies', 'reason', 'num_requests'),
    [
        ([reply(status=404)], 'has status 404', 1),
        ([reply(status=403)], 'has status 403', 1),
        ([reply(status=503)], 'has status 503', 3),
        ([cut(RED)], 'is broken off', 3),
        ([reply(RED[:-20])], 'is no whole picture', 1),
        ([reply(b'<html>gone</html>')], 'is no whole picture', 1),
        ([reply()], 'is no whole picture', 1),
        ([reply(picture('GIF', (1, 1)))], 'is a single pixel', 1),
        ([reply(picture('PCX'))], 'is no whole picture', 1),
        ([reply(picture('EPS'))], 'is no whole picture', 1),
        ([reply(bytes(10_001))], 'is larger than limits.file', 1),
        (
            [reply(picture('PNG', (300, 300)))],
            'has more pixels than limits.pixels',
            1,
        ),
        ([reply(status=302, Location='/B1')], 'has a TooManyRedirects', 31),
        ([reply(status=302, Location='file:///etc/passwd')], 'has a Inv', 1),
    ],
)
def test_pictures_that_cannot_be_had(
    tmp_path, shop, replies, reason, num_requests
):
    urls = {
        'B0': shop.serve('B0', reply(RED)),
        'B1': shop.serve('B1', *replies),
    }
    limits = Limits(file=10_000, pixels=50_000)
    message = (
        rf"lacks the pictures of 1 of 2 items.*1 {reason}.*\(in row 1: 'B1' at"
    )
    with pytest.warns(UserWarning, match=message):
        report = quick()(urls, tmp_path, limits=limits)
    assert files_in(tmp_path) == ['B0.jpg']
    ((item, url, found),) = report.failures
    assert (item, url) == ('B1', urls['B1']) and found.startswith(reason)
    assert rows_of(report)[1:] == [list(report.failures[0])]
    assert shop.requests.count('B1') == num_requests


def test_no_program_is_started(tmp_path, shop, monkeypatch):
    """Pillow leaves PostScript to Ghostscript."""
    program = tmp_path / 'bin' / 'gs'
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ntouch {tmp_path}/started\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{program.parent}:/usr/bin:/bin')
    monkeypatch.setattr(EpsImagePlugin, 'gs_binary', None, raising=False)
    urls = {'B1': shop.serve('B1', reply(picture('EPS')))}
    report = quietly(quick(), urls, tmp_path / 'pictures')
    assert report.reasons == {'is no whole picture': 1}
    assert not (tmp_path / 'started').exists()


@pytest.mark.parametrize(
    'first',
    [
        reply(status=503, Retry_After='0'),
        reply(status=429, Retry_After='soon'),
        cut(RED),
        hang_up,
    ],
)
def test_pictures_are_tried_again(tmp_path, shop, first):
    urls = {'B1': shop.serve('B1', first, first, reply(RED))}
    report = quick()(urls, tmp_path)
    assert (report.fetched, report.failures) == (1, [])
    assert (tmp_path / 'B1.jpg').read_bytes() == RED


def test_pictures_are_waited_for_as_servers_say(tmp_path, shop):
    busy = reply(status=429, Retry_After='1')
    urls = {'B1': shop.serve('B1', busy, reply(RED))}
    start = time.monotonic()
    quick()(urls, tmp_path)
    assert time.monotonic() - start >= 1


def test_pictures_that_are_there_are_not_fetched_again(tmp_path, shop):
    urls = {f'B{i}': shop.serve(f'B{i}', reply(RED)) for i in range(4)}
    urls['B4'] = shop.serve('B4', reply(status=404), reply(RED))
    (tmp_path / 'B0.PNG').write_bytes(b'put here by hand')
    first = quietly(quick(), urls, tmp_path)
    assert first[2:4] == (1, 3) and first.reasons == {'has status 404': 1}
    assert 'B0' not in shop.requests
    shop.requests.clear()
    shop.replies['B4'] = (reply(RED),)
    second = quick()(urls, tmp_path)
    assert second[2:] == (4, 1, [])
    assert shop.requests == ['B4']
    assert (tmp_path / 'B0.PNG').read_bytes() == b'put here by hand'
    assert rows_of(second) == [['item', 'url', 'reason']]


def test_pictures_of_a_download_that_was_interrupted(
    tmp_path, shop, monkeypatch
):
    """It leaves whole pictures, and no table of failures."""
    urls = {f'B{i}': shop.serve(f'B{i}', reply(RED)) for i in range(3)}

    def interrupt(path):
        if 'B2' in path:
            raise KeyboardInterrupt
        return open_atomic(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(picture_urls, 'open_atomic', interrupt)
        quick(threads=1)(urls, tmp_path)
    assert files_in(tmp_path) == ['B0.jpg', 'B1.jpg']
    assert not list(tmp_path.glob('*.csv'))
    report = quick()(urls, tmp_path)
    assert (report.there, report.fetched, report.failures) == (2, 1, [])


def test_pictures_of_the_first_items(tmp_path, shop):
    urls = {f'B{i}': shop.serve(f'B{i}', reply(RED)) for i in range(5)}
    report = quietly(quick(max_items=2), urls, tmp_path)
    assert files_in(tmp_path) == ['B0.jpg', 'B1.jpg']
    assert report.reasons == {'is beyond max_items': 3}
    assert sorted(shop.requests) == ['B0', 'B1']
    quietly(quick(max_items=3), urls, tmp_path)
    assert sorted(shop.requests) == ['B0', 'B1', 'B2']


@pytest.mark.parametrize('threads', [1, 4])
def test_pictures_of_so_many_bytes(tmp_path, shop, threads):
    urls = {f'B{i}': shop.serve(f'B{i}', reply(RED)) for i in range(9)}
    most = 3 * len(RED) + 5
    download = quick(max_bytes=most, threads=threads)
    report = quietly(download, urls, tmp_path)
    assert report.fetched == 3
    assert report.reasons == {'is beyond max_bytes': 6}
    again = quietly(download, urls, tmp_path)  # Those that are there count.
    assert (again.there, again.fetched) == (3, 0)


def test_pictures_are_fetched_at_once(tmp_path, shop):
    together = Barrier(4, timeout=5)

    def wait(request):
        together.wait()
        reply(RED)(request)

    urls = {f'B{i}': shop.serve(f'B{i}', wait) for i in range(4)}
    assert quick(threads=4)(urls, tmp_path).fetched == 4


@pytest.mark.parametrize(
    'item', ['../B1', '/etc/B1', '', '.', '..', '._B1', 'a\0b', 'x' * 300]
)
def test_ids_that_name_no_file(tmp_path, shop, item):
    folder = tmp_path / 'pictures'
    urls = {item: shop.serve('B1', reply(RED))}
    report = quietly(quick(), urls, folder)
    assert report.reasons == {'has an id that names no file': 1}
    assert files_in(folder) == [] and shop.requests == []
    assert files_in(tmp_path) == ['pictures', 'pictures.lock']


@pytest.mark.parametrize(
    ('url', 'reason'),
    [
        ('', 'has no URL of http or https'),
        ('file:///etc/passwd', 'has no URL of http or https'),
        ('ftp://example.org/1.jpg', 'has no URL of http or https'),
        ('http://a b', 'has no URL of http or https'),
        ('http://[::1', 'has a InvalidURL'),
        ('http://' + '.' * 90 + '/1.jpg', 'has a InvalidURL'),
    ],
)
def test_urls_that_are_none(tmp_path, url, reason):
    report = quietly(quick(), {'B1': url}, tmp_path)
    assert report.reasons == {reason: 1}


def test_a_network_that_is_down(tmp_path, shop):
    with socket.socket() as taken:  # Bound, but nobody listens.
        taken.bind(('127.0.0.1', 0))
        down = f'http://127.0.0.1:{taken.getsockname()[1]}/'
        few = {f'B{i}': f'{down}{i}' for i in range(3)}
        with pytest.raises(ConnectionError, match='3 pictures in a row'):
            quick()(few, tmp_path)
        # A server that is down among others is no network that is down:
        urls = {
            'A': shop.serve('A', reply(RED)),
            **{f'B{i:02}': f'{down}{i}' for i in range(70)},
            'C': shop.serve('C', reply(RED)),
        }
        report = quietly(quick(threads=1, retries=0), urls, tmp_path)
        assert report.reasons == {'has no connection': 70}
        assert (report.fetched, shop.requests) == (2, ['A', 'A', 'A', 'C'])
        # The network goes down after the first picture:
        folder = tmp_path / 'second'
        shop.requests.clear()
        urls['A'] = shop.serve('A', reply(RED), hang_up)
        message = r"30 pictures in a row got no connection.* the 1 in '.*stay"
        with pytest.raises(ConnectionError, match=message):
            quick(threads=1, retries=0)(urls, folder)
        assert files_in(folder) == ['A.jpg']
        assert not list(folder.glob('*.csv'))


def test_a_server_that_never_ends(tmp_path, shop):
    def drip(request):
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(b'x' * 100)

    urls = {'B1': shop.serve('B1', drip)}
    report = quietly(quick(), urls, tmp_path, limits=Limits(file=10_000))
    assert report.reasons == {'is larger than limits.file': 1}


def test_a_full_disk(tmp_path, shop):
    content = picture('BMP', (200, 200))
    urls = {f'B{i}': shop.serve(f'B{i}', reply(content)) for i in range(8)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(
            OSError, match=r'B.*could not be written.*make room'
        ):
            quick()(urls, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files_in(tmp_path) == []


def test_two_pictures_of_an_item(tmp_path):
    for name in ('B1.jpg', 'B1.png'):
        (tmp_path / name).write_bytes(RED)
    with pytest.raises(ValueError, match="two files for 'B1'"):
        quick()({'B1': 'http://127.0.0.1/'}, tmp_path)


def test_the_folder_and_the_report_are_where_they_should_be(tmp_path, shop):
    urls = {'B1': shop.serve('B1', reply(RED))}
    with pytest.raises(ValueError, match="'folder' is missing"):
        quick()(urls)
    download = quick(folder=tmp_path / 'own')
    report = download(urls, tmp_path / 'other', tmp_path / 'report.csv')
    assert report[:2] == (str(tmp_path / 'own'), str(tmp_path / 'report.csv'))
    assert os.listdir(tmp_path / 'own') == ['B1.jpg']
    assert not (tmp_path / 'other').exists()
    assert 'max_items=7' in repr(PictureDownload(max_items=7))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (
            {'max_items': 0},
            "'max_items' needs to be a whole number, at least 1",
        ),
        ({'max_bytes': -1}, "'max_bytes' needs to be a whole number"),
        ({'threads': 0}, "'threads' needs to be a whole number, at least 1"),
        ({'retries': -1}, "'retries' needs to be a whole number, at least 0"),
        ({'pause': -1.0}, "'pause' needs to be a finite number, at least 0"),
        ({'timeout': 0.0}, "'timeout' needs to be a finite number, positive"),
    ],
)
def test_arguments_are_checked(kwargs, message):
    with pytest.raises(ValueError, match=f"^{message}.* in 'PictureDownload'"):
        PictureDownload(**kwargs)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_any_ids_and_urls_fail_with_a_reason(tmp_path_factory, item, rest):
    folder = tmp_path_factory.mktemp('any')
    urls = {item: f'x{rest}'}
    report = quietly(quick(), urls, folder)
    assert sum(report.reasons.values()) == 1
    assert files_in(folder) == []
    text = Path(report.path).read_text()
    assert text.startswith('item,url,reason\n')


def test_a_server_that_drips(tmp_path, shop):
    def drip(request):
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(b'x')
            time.sleep(0.02)

    urls = {'B1': shop.serve('B1', drip)}
    report = quietly(quick(timeout=0.1), urls, tmp_path)
    assert report.reasons == {'is sent too slowly': 1}


@pytest.mark.parametrize('level', [0, 9])
def test_a_server_that_compresses_unasked(tmp_path, shop, level):
    packed = gzip.compress(RED, level)
    assert level or len(packed) > len(RED)
    url = shop.serve('B1', reply(packed, Content_Encoding='gzip'))
    report = quick()({'B1': url}, tmp_path)
    assert report.fetched == 1
    assert (tmp_path / 'B1.jpg').read_bytes() == RED


def test_a_server_that_compresses_wrongly(tmp_path, shop):
    url = shop.serve('B1', reply(RED, Content_Encoding='gzip'))
    report = quietly(quick(), {'B1': url}, tmp_path)
    assert report.reasons == {'has a DecodeError': 1}


def test_ids_too_long_for_a_file_and_urls_that_are_none(tmp_path, shop):
    url = shop.serve('B1', reply(RED))
    urls = {'B1': url, '\u65e5' * 100: url, 'B2': None}
    report = quietly(quick(), urls, tmp_path)
    assert report.fetched == 1
    assert report.reasons == {
        'has an id that names no file': 1,
        'has no URL of http or https': 1,
    }


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        *(('threads', 2.5), ('threads', None), ('retries', 1.5)),
        *(('max_items', '3'), ('max_items', True), ('max_bytes', 1e9)),
        *(('timeout', None), ('timeout', float('nan')), ('pause', None)),
    ],
)
def test_settings_of_a_wrong_kind(name, value):
    with pytest.raises(ValueError, match=f"'{name}' needs to be .*got "):
        PictureDownload(**{name: value})


def test_headers_that_drip(tmp_path, shop):
    """No byte is late, and the last one never comes."""

    def drip(request):
        request.send_response(200)
        request.flush_headers()
        while True:
            request.wfile.write(b'X-More: 1\r\n')
            time.sleep(0.02)

    urls = {'B1': shop.serve('B1', drip), 'B2': shop.serve('B2', reply(RED))}
    start = time.monotonic()
    report = quietly(quick(timeout=0.3, retries=1), urls, tmp_path)
    assert report.reasons == {'has no connection': 1}
    assert files_in(tmp_path) == ['B2.jpg']
    assert time.monotonic() - start < 2.5


@pytest.mark.parametrize('ignores_case', [False, True])
def test_ids_that_differ_by_case_alone(tmp_path, shop, ignores_case):
    """Where a folder ignores case, one would take the place of the other."""
    folder = tmp_path / 'pictures'
    if ignores_case:  # The name of the lock in other case is the same file.
        (tmp_path / 'PICTURES.LOCK').symlink_to(tmp_path / 'pictures.lock')
    urls = {
        item: shop.serve(item, reply(picture(colour=colour)))
        for item, colour in (('cup', 'red'), ('CUP', 'blue'), ('pot', 'red'))
    }
    for _ in range(2):
        report = quietly(quick(), urls, folder)
        failed = [item for item, *_ in report.failures]
        assert failed == (['CUP'] if ignores_case else [])
    if ignores_case:
        assert report.reasons == {'has the id of another but for case': 1}
    files = ItemFiles(folder, PICTURES)
    assert sorted(files.names) == sorted(urls.keys() - set(failed))
    assert files.read('cup') == picture(colour='red')
