import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.nn import Popularity
from pyg_ckd.serving import load, save

pytest.importorskip('uvicorn')


@pytest.fixture
def folder(tmp_path):
    data = FakeMultimodal(num_users=20, num_items=15)[0]
    save(Popularity.from_data(data), data, tmp_path / 'model')
    return tmp_path / 'model'


def test_it_answers_until_it_is_stopped(folder):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, '-m', 'pyg_ckd', 'serve', str(folder)]
    (folder.parent / 'pictures').mkdir()
    (folder.parent / 'pictures' / '7.png').write_bytes(b'')
    command += ['--pictures', str(folder.parent / 'pictures')]
    process = subprocess.Popen(
        [*command, '--port', str(port)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'COLUMNS': '200'},
    )
    try:
        said = process.stderr.readline()
        assert said.startswith('Serves Served(Popularity, 20 users, 15 items')
        address = f'http://127.0.0.1:{port}'
        assert said.endswith(f'at {address}\n')
        pictures = process.stderr.readline()
        assert pictures == '1 of 15 items have a picture\n'
        until = time.monotonic() + 60
        while True:
            try:
                answer = urllib.request.urlopen(f'{address}/recommend?user=7')
                break
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.1)
        (found,) = json.load(answer)
        wanted = load(folder).recommend([7])[0]
        assert [one['item'] for one in found['items']] == [i for i, _ in wanted]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, 143, -signal.SIGTERM)
        process.stderr.close()


def test_a_port_that_is_taken(call, folder):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = call('serve', folder, '--port', port)
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert f"'--port' {port} cannot be listened at" in err


def test_where_no_model_is(call, tmp_path):
    status, out, err = call('serve', tmp_path)
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert 'There is no saved model in' in err


def test_it_needs_packages(call, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, 'uvicorn', None)
    status, out, err = call('serve', folder)
    assert (status, out) == (2, '')
    assert "needs uvicorn; `pip install 'pyg_ckd[serve]'`" in err
