"""The service, asked over its real interface."""

import json
import os
import threading
import time
from datetime import datetime, timezone
from zipfile import ZipFile

import pytest
import torch

from pyg_ckd.nn import VBPR, Popularity
from pyg_ckd.serving import load, save

pytest.importorskip('fastapi')
from fastapi.testclient import TestClient

from pyg_ckd.serving.http import Live, create_app
from pyg_ckd.serving.http.pictures import Pictures

PICTURE = bytes.fromhex('89504e470d0a1a0a')


@pytest.fixture
def folder(shop, tmp_path):
    torch.manual_seed(1)
    save(VBPR.from_data(shop, dim=4), shop, tmp_path / 'models' / 'first')
    return tmp_path / 'models' / 'first'


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / 'pictures').mkdir()
    (tmp_path / 'pictures' / 'i7.png').write_bytes(PICTURE)
    (tmp_path / 'secret.png').write_bytes(b'secret')
    (tmp_path / 'pictures' / 'notes.txt').write_text('secret')
    return tmp_path / 'pictures'


@pytest.fixture
def client(folder, pictures):
    with TestClient(create_app(folder, pictures=pictures)) as client:
        yield client


@pytest.fixture
def served(folder):
    return load(folder)


def entries(pairs, served):
    return [
        {'item': item, 'score': score, 'title': served.title(item)}
        for item, score in pairs
    ]


def test_health(client, served):
    assert client.head('/health').status_code == 200
    found = client.get('/health').json()
    since = datetime.fromisoformat(found.pop('since'))
    assert since <= datetime.now(timezone.utc)
    assert found == {
        'status': 'ok',
        'model': 'VBPR',
        'data': served.about['data'],
        'metrics': served.about['metrics'],
        'users': 40,
        'items': 30,
        'views': ['full', 'only(image)', 'only(text)'],
    }


@pytest.mark.parametrize('view', ['', 'only(text)'])
def test_recommend(client, served, view):
    values = {'user': ['u7', 'u3'], 'k': 4, 'view': view}
    found = client.get('/recommend', params=values).json()
    keep = served.view_names().get(view)
    wanted = served.recommend(['u7', 'u3'], 4, view=keep)
    assert [one['user'] for one in found] == ['u7', 'u3']
    for one, pairs in zip(found, wanted, strict=True):
        assert one['items'] == entries(pairs, served)


def test_recommend_to_many_and_to_new_ones(client, served):
    body = {
        'users': ['u7'],
        'histories': [['i1', 'i2']],
        'k': 3,
        'candidates': ['i4', 'i5', 'i6', 'i1'],
        'view': ['text'],
        'exclude_known': False,
    }
    found = client.post('/recommend', json=body).json()
    options = {
        name: body[name] for name in ('candidates', 'view', 'exclude_known')
    }
    known = served.recommend(['u7'], 3, **options)[0]
    new = served.recommend_new([['i1', 'i2']], 3, **options)[0]
    assert [one['user'] for one in found] == ['u7', None]
    assert found[0]['items'] == entries(known, served)
    assert found[1]['items'] == entries(new, served)


def test_similar_explain_history_and_search(client, served):
    values = {'item': 'i7', 'k': 3, 'modality': 'text'}
    assert client.get('/similar', params=values).json() == entries(
        served.similar_items('i7', 3, modality='text'), served
    )
    found = client.get('/explain', params={'user': 'u3', 'item': 'i7'}).json()
    wanted = served.explain('u3', 'i7')
    assert found['rank'] == wanted.rank
    assert found['sentence'] == wanted.sentence
    assert found['title'] == 'Item “7”'
    found = client.get('/history', params={'user': 'u3'}).json()
    assert [one['item'] for one in found] == served.history('u3')
    found = client.get('/search', params={'text': 'u39'}).json()
    assert found == [{'name': 'u39'}]
    found = client.get('/search', params={'text': '“7', 'node': 'item'})
    assert found.json() == [{'item': 'i7', 'title': 'Item “7”'}]


@pytest.mark.parametrize(
    ('path', 'values', 'status', 'match'),
    [
        ('/recommend', {'user': 'x'}, 404, "no user 'x'"),
        ('/recommend', {}, 422, 'user'),
        ('/recommend', {'user': 'u1', 'k': 0}, 422, 'greater'),
        ('/recommend', {'user': 'u1', 'k': 10**9}, 422, 'less'),
        ('/recommend', {'user': ['u1'] * 101}, 422, 'at most 100'),
        ('/recommend', {'user': 'u1', 'view': '__class__'}, 404, 'one of'),
        ('/recommend', {'user': 'u1', 'exlude_known': 'false'}, 422, 'exlude'),
        ('/health', {'user': 'u1'}, 422, 'no parameter'),
        ('/similar', {'item': 'x'}, 404, "no item 'x'"),
        ('/similar', {'item': 'i1', 'modality': 'x'}, 404, 'one of'),
        ('/explain', {'user': 'u1', 'item': 'x'}, 404, "no item 'x'"),
        ('/history', {'user': 'x'}, 404, "no user 'x'"),
        ('/search', {'text': 'x' * 501}, 422, 'at most 500'),
        ('/search', {'node': 'shelf'}, 422, 'pattern'),
        ('/picture', {'item': 'i8'}, 404, 'no picture'),
    ],
)
def test_bad_requests(client, path, values, status, match):
    answer = client.get(path, params=values)
    assert answer.status_code == status
    assert match in json.dumps(answer.json())


@pytest.mark.parametrize(
    ('body', 'status'),
    [
        ({'users': ['x']}, 404),
        ({'histories': [[]]}, 404),
        ({'histories': [['x']]}, 404),
        ({'users': ['u1'], 'candidates': []}, 404),
        ({'users': ['u1'] * 1001}, 422),
        ({'users': [['u1']]}, 422),
        ({'users': ['u1'], 'k': True, 'more': 1}, 422),
        ({'users': ['u1'], 'view': ['sound']}, 404),
    ],
)
def test_bad_bodies(client, body, status):
    assert client.post('/recommend', json=body).status_code == status


def test_a_view_by_its_name(client, served):
    (named,) = client.post(
        '/recommend', json={'users': ['u3'], 'view': 'only(text)'}
    ).json()
    (chosen,) = client.post(
        '/recommend', json={'users': ['u3'], 'view': ['text']}
    ).json()
    assert named == chosen
    assert [entry['item'] for entry in named['items']] == (
        served.recommend(['u3'], view={'text'}).items[0]
    )


def test_unknown_names_are_skipped(client, served):
    """Each has an answer, in the order of the request."""
    body = {
        'users': ['u3', 'new', 'u4'],
        'histories': [['i1', 'today'], [], ['today'], ['i2']],
        'candidates': ['i5', 'i6', 'today'],
        'k': 2,
    }
    assert client.post('/recommend', json=body).status_code == 404
    found = client.post(
        '/recommend', json={**body, 'skip_unknown': True}
    ).json()
    assert [entry['unknown'] for entry in found] == [
        [],
        ['new'],
        [],
        ['today'],
        [],
        ['today'],
        [],
    ]
    lists = [[one['item'] for one in entry['items']] for entry in found]
    options = {'candidates': ['i5', 'i6']}
    known = served.recommend(['u3', 'u4'], 2, **options).items
    new = served.recommend_new([['i1'], ['i2']], 2, **options).items
    assert lists == [known[0], [], known[1], new[0], [], [], new[1]]


def test_bodies_of_another_type(client):
    answer = client.post(
        '/recommend',
        content=b'{"users": ["u3"]}',
        headers={'content-type': 'application/x-www-form-urlencoded'},
    )
    assert answer.status_code == 415
    assert 'content-type: application/json' in answer.json()['detail']


def test_parameters_that_are_there_twice(client):
    answer = client.get('/recommend?user=u1&user=u2&k=3&k=4')
    assert answer.status_code == 422
    assert "'k' is there twice" in answer.json()['detail']
    assert client.get('/recommend?user=u1&user=u2').status_code == 200


def test_long_bodies(client):
    def chunks():
        for _ in range(300):
            yield b' ' * 4096

    for content in (b' ' * (2**20 + 1), chunks()):
        answer = client.post('/recommend', content=content)
        assert answer.status_code == 413
        assert answer.json() == {'detail': 'A body has 1048576 bytes at most'}
    assert client.get('/health').status_code == 200


def test_pictures(client):
    answer = client.get('/picture', params={'item': 'i7'})
    assert answer.content == PICTURE
    assert answer.headers['content-type'] == 'image/png'


@pytest.mark.parametrize(
    'name',
    [
        '../secret',
        '../secret.png',
        'notes',
        'notes.txt',
        '/etc/passwd',
        '',
        '.',
        'i7.png',
        '..%2fsecret',
    ],
)
def test_nothing_but_pictures_is_read(client, name):
    answer = client.get('/picture', params={'item': name})
    assert answer.status_code == 404
    assert b'secret' not in answer.content.replace(name.encode(), b'')


def test_pictures_that_come_and_go(pictures):
    shown = Pictures(pictures, every=0.0)
    (pictures / 'deep').mkdir()
    (pictures / 'deep' / 'i8.jpg').write_bytes(b'new')
    assert shown.read('i8') == (b'new', 'image/jpeg')
    (pictures / 'i7.png').unlink()
    assert shown.read('i7') is None
    (pictures / 'i8.gif').write_bytes(b'twice')
    assert shown.read('i9') is None
    assert shown.read('i8') == (b'new', 'image/jpeg')
    (pictures / 'i8.gif').unlink()
    os.mkfifo(pictures / 'i9.png')
    assert shown.read('i9') is None


def test_pictures_that_cannot_be_read(pictures, tmp_path, caplog):
    path = tmp_path / 'pictures.zip'
    with ZipFile(path, 'w') as archive:
        archive.writestr('i7.png', PICTURE * 100)
    path.write_bytes(path.read_bytes().replace(PICTURE, PICTURE[::-1], 1))
    assert Pictures(path).read('i7') is None
    assert 'cannot be unpacked' in caplog.text


def test_pictures_are_not_listed_for_each_request(pictures):
    shown = Pictures(pictures, every=1000.0)
    (pictures / 'i8.jpg').write_bytes(b'new')
    assert shown.read('i8') is None


def test_pictures_in_an_archive(pictures, tmp_path):
    path = tmp_path / 'pictures.zip'
    with ZipFile(path, 'w') as archive:
        archive.write(pictures / 'i7.png', 'deep/i7.png')
    shown = Pictures(path)
    assert len(shown) == 1
    assert shown.read('i7') == (PICTURE, 'image/png')


def test_page(client):
    answer = client.get('/')
    assert answer.headers['content-type'].startswith('text/html')
    assert '<h1>Recommendations</h1>' in answer.text
    assert 'http://' not in answer.text
    assert 'https://' not in answer.text


def test_no_pictures(folder):
    client = TestClient(create_app(folder))
    answer = client.get('/picture', params={'item': 'i7'})
    assert answer.status_code == 404
    with pytest.raises(FileNotFoundError, match='no folder or zip archive'):
        create_app(folder, pictures=folder / 'none')


def test_a_newer_model_is_taken_up(folder, shop, plain):
    with TestClient(create_app(folder.parent, every=0.05)) as client:
        assert client.get('/health').json()['model'] == 'VBPR'
        save(Popularity.from_data(shop), shop, folder.parent / 'second')
        until = time.monotonic() + 20
        while client.get('/health').json()['model'] != 'Popularity':
            assert time.monotonic() < until
            time.sleep(0.02)
        # Into the same folder:
        save(VBPR.from_data(plain), plain, folder.parent / 'second')
        while client.get('/health').json()['model'] != 'VBPR':
            assert time.monotonic() < until
            time.sleep(0.02)
        assert client.get('/recommend', params={'user': 3}).status_code == 200


def test_the_newest_whole_model_is_first(folder, shop, caplog):
    save(Popularity.from_data(shop), shop, folder.parent / 'second')
    weights = folder.parent / 'second' / 'embeddings.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1])
    live = Live(folder.parent)
    assert live.served.about['name'] == 'VBPR'
    assert 'An older model is served' in caplog.text
    caplog.clear()
    assert not live.look()
    assert caplog.text == ''
    (folder / 'weights.safetensors').unlink()
    (folder / 'embeddings.safetensors').unlink()
    with pytest.raises(ValueError, match='second'):
        Live(folder.parent)


def test_a_broken_model_is_not_taken_up(folder, shop, caplog):
    live = Live(folder.parent)
    before = live.served
    assert not live.look()
    save(Popularity.from_data(shop), shop, folder.parent / 'second')
    weights = folder.parent / 'second' / 'embeddings.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1])
    assert not live.look()
    assert live.served is before
    assert 'is not as it was when the model was saved' in caplog.text
    os.remove(folder.parent / 'second' / 'model.json')
    assert not live.look()


def test_where_no_model_is(tmp_path):
    with pytest.raises(FileNotFoundError, match='no saved model'):
        create_app(tmp_path)


def test_requests_while_models_change(folder, shop):
    """Each answer is one of one model, whichever."""
    models = [VBPR.from_data(shop, dim=4), Popularity.from_data(shop)]
    answers = []
    for model in models:
        save(model, shop, folder)
        answers.append(load(folder).recommend(['u7'], 5)[0])
    wrong, over = [], threading.Event()
    with TestClient(create_app(folder, every=0.01)) as client:

        def ask():
            while not over.is_set():
                found = client.get('/recommend', params={'user': 'u7', 'k': 5})
                pairs = [
                    (one['item'], one['score'])
                    for one in found.json()[0]['items']
                ]
                if pairs not in answers:
                    wrong.append(pairs)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(6):
            save(models[turn % 2], shop, folder)
            time.sleep(0.05)
        over.set()
        for thread in threads:
            thread.join()
    assert wrong == []
