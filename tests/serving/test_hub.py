"""Models go to the Hugging Face Hub and come back, over real requests."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

pytest.importorskip('huggingface_hub')

COMMIT = 'a' * 40


class Hub(BaseHTTPRequestHandler):
    """What the Hub answers to those who make, fill and read a repository."""

    files: dict[str, dict[str, bytes]] = {}  # noqa: RUF012
    private: dict[str, bool] = {}  # noqa: RUF012

    def log_message(self, *args):
        """Say nothing."""

    def answer(self, values, status=200, **headers):
        body = values if isinstance(values, bytes) else json.dumps(values)
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        self.send_header('content-length', str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        place = f'http://{self.headers["host"]}'
        if self.path == '/api/repos/create':
            wanted = json.loads(body)
            name = f'{wanted.get("organization") or "me"}/{wanted["name"]}'
            self.files.setdefault(name, {})
            self.private[name] = wanted.get('private', False) or (
                wanted.get('visibility') == 'private'
            )
            return self.answer({'url': f'{place}/{name}', 'name': name})
        found = re.fullmatch(
            r'/api/models/(.+)/(preupload|commit)/main', self.path
        )
        if not found:
            return self.answer({'error': 'unknown'}, 404)
        name, what = found.groups()
        if what == 'preupload':
            files = [
                {
                    'path': one['path'],
                    'uploadMode': 'regular',
                    'shouldIgnore': False,
                }
                for one in json.loads(body)['files']
            ]
            return self.answer({'files': files})
        for line in map(json.loads, body.splitlines()):
            if line['key'] == 'file':
                value = line['value']
                content = base64.b64decode(value['content'])
                self.files[name][value['path']] = content
        return self.answer(
            {
                'success': True,
                'commitOid': COMMIT,
                'commitUrl': f'{place}/{name}/commit/{COMMIT}',
            }
        )

    def do_GET(self):
        found = re.match(r'/api/models/([^/]+/[^/?]+)(/tree)?', self.path)
        if found and found[1] in self.files:
            files = self.files[found[1]]
            if found[2]:
                return self.answer(
                    [
                        {
                            'type': 'file',
                            'path': path,
                            'size': len(content),
                            'oid': hashlib.sha1(content).hexdigest(),
                        }
                        for path, content in files.items()
                    ]
                )
            return self.answer(
                {
                    'id': found[1],
                    'sha': COMMIT,
                    'siblings': [{'rfilename': path} for path in files],
                }
            )
        found = re.fullmatch(r'/([^/]+/[^/]+)/resolve/[^/]+/(.+)', self.path)
        content = found and self.files.get(found[1], {}).get(found[2])
        if content is None:
            return self.answer(
                {'error': 'Repository not found'},
                404,
                X_Error_Code='RepoNotFound',
            )
        return self.answer(
            content,
            etag=f'"{hashlib.sha1(content).hexdigest()}"',
            X_Repo_Commit=COMMIT,
        )

    do_HEAD = do_GET


@pytest.fixture
def hub(tmp_path):
    """A script's environment in which the Hub is a server on this machine."""
    Hub.files.clear()
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield {
        **os.environ,
        'HF_ENDPOINT': f'http://127.0.0.1:{server.server_port}',
        'HF_HOME': str(tmp_path / 'cache'),
        'HF_HUB_OFFLINE': '0',
        'HF_HUB_DISABLE_XET': '1',
        'HF_HUB_DISABLE_TELEMETRY': '1',
    }
    server.shutdown()


START = """
import torch
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.nn import VBPR
from pyg_ckd.serving import Served, from_pretrained, push_to_hub
data = FakeMultimodal(num_users=20, num_items=15)[0]
torch.manual_seed(0)
model = VBPR.from_data(data, dim=4)
"""


def run(code, hub):
    """Run a script in a process of its own, as the Hub is read from its
    environment when it is imported."""
    return subprocess.run(
        [sys.executable, '-c', START + code],
        env=hub,
        capture_output=True,
        text=True,
    )


def test_there_and_back(hub):
    done = run(
        "print(push_to_hub(model, data, 'me/shop', token='hf_x'))\n"
        "served = from_pretrained('me/shop')\n"
        'own = Served.from_model(model, data)\n'
        'users = list(range(20))\n'
        'assert served.recommend(users).items == own.recommend(users).items\n',
        hub,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f'/me/shop/commit/{COMMIT}\n')
    assert Hub.private['me/shop']
    assert set(Hub.files['me/shop']) == {
        'model.json',
        'weights.safetensors',
        'embeddings.safetensors',
        'interactions.safetensors',
    }


def test_what_is_broken_or_not_there(hub):
    done = run("from_pretrained('me/other')", hub)
    assert done.returncode == 1
    assert 'Repository Not Found' in done.stderr
    assert (
        run("push_to_hub(model, data, 'me/shop', token='x')", hub).returncode
        == 0
    )
    Hub.files['me/shop']['embeddings.safetensors'] += b'x'
    done = run("from_pretrained('me/shop')", hub)
    assert 'is not as it was when the model was saved' in done.stderr


def test_folders_need_no_hub(hub, tmp_path):
    folder = tmp_path / 'model'
    code = (
        'import sys, pyg_ckd\n'
        f'pyg_ckd.save(model, data, {str(folder)!r})\n'
        "sys.modules['huggingface_hub'] = None\n"
        f'print(from_pretrained({str(folder)!r}))\n'
        "from_pretrained('me/shop')\n"
    )
    done = run(code, hub)
    assert done.stdout.startswith('Served(VBPR, 20 users')
    assert "`pip install 'pyg_ckd[hub]'`" in done.stderr
