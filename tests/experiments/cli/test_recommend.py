import json
import shlex

import pytest
import torch

from pyg_ckd.balance import Teacher
from pyg_ckd.datasets import MMRecFolder
from pyg_ckd.experiments import Store
from pyg_ckd.graph import RATES
from pyg_ckd.nn import FixedEmbeddings
from pyg_ckd.ranking import recommend
from pyg_ckd.serving import save

USAGE = ('--dataset', 'corner', '--backbone', 'VBPR')


@pytest.fixture
def data(shops, tmp_path):
    return MMRecFolder(shops, 'corner', processed_root=tmp_path / 'own')[0]


def best(store, data, user, k, method='base', seed=0):
    """Return the best items of a user, recomputed from the file.

    Users and items have the numbers of the data set's file.
    """
    row = int(data['user'].original_id.argsort()[user])
    (run,) = (
        result.run
        for result in store.results()
        if (result.run.backbone, str(result.run.method), result.run.seed)
        == ('VBPR', method, seed)
    )
    teacher = Teacher.load(store.embeddings(run.key))
    score = teacher.item @ teacher.user[row]
    users, items = data[RATES].edge_index
    score[items[users == row]] = -torch.inf
    value, item = score.sort(descending=True, stable=True)
    kept = value > -torch.inf
    item = data['item'].original_id[item]
    return item[kept][:k].tolist(), value[kept][:k].tolist()


def test_json_is_that_of_the_store(call, results, shops, data):
    place = ('--root', shops, '--results', results, '--method', 'ckd')
    status, out, err = call(
        *('recommend', *USAGE, *place, '--seed', 1),
        *('--user', 7, 0, '-k', 3, '--json'),
    )
    assert (status, err) == (0, '')
    found = json.loads(out)
    assert [one['user'] for one in found] == [7, 0]
    store = Store(results / 'corner')
    for one in found:
        items, scores = best(store, data, one['user'], 3, 'CKD', 1)
        assert [each['item'] for each in one['items']] == items
        for each, score in zip(one['items'], scores, strict=True):
            assert each['score'] == pytest.approx(score, abs=1e-5)


def test_table(call, results, shops, data):
    place = ('--root', shops, '--results', results)
    status, out, err = call(
        'recommend', *USAGE, *place, '--user', 3, 4, '-k', 2
    )
    assert (status, err) == (0, '')
    rows = [line.split() for line in out.splitlines() if '.' in line]
    store = Store(results / 'corner')
    expected = []
    for user in (3, 4):
        items, scores = best(store, data, user, 2)
        expected += [
            [str(user), '1', str(items[0]), f'{scores[0]:.4f}'],
            ['2', str(items[1]), f'{scores[1]:.4f}'],
        ]
    assert rows == expected


def test_more_than_there_are(call, results, shops):
    place = ('--root', shops, '--results', results)
    out = call('recommend', *USAGE, *place, '--user', 3, '-k', 99, '--json')[1]
    (found,) = json.loads(out)
    items = [each['item'] for each in found['items']]
    assert len(items) == len(set(items)) == 25 - 6
    assert min(items) >= 0


@pytest.mark.parametrize('user', ['30', '-1', 'ann', '1.5'])
def test_unknown_users(call, results, shops, user):
    place = ('--root', shops, '--results', results)
    status, out, err = call('recommend', *USAGE, *place, f'--user={user}')
    assert (status, out) == (2, '')
    assert 'they are numbers from 0 to 29' in err


def test_of_a_saved_model(call, data, tmp_path):
    data['user'].name = [f'user {number}' for number in range(30)]
    data['item'].name = [f'item {number}' for number in range(25)]
    model = FixedEmbeddings(torch.rand(30, 4), torch.rand(25, 4))
    save(model, data, tmp_path / 'model')
    usage = ('recommend', '--model', tmp_path / 'model', '-k', 2)
    status, out, _ = call(*usage, '--user', 'user 7', '--json')
    assert status == 0
    items, scores = recommend(model, data, 7, 2)
    assert json.loads(out) == [
        {
            'user': 'user 7',
            'items': [
                {'item': f'item {item}', 'score': score}
                for item, score in zip(
                    items[0].tolist(), scores[0].tolist(), strict=True
                )
            ],
        }
    ]
    status, _, err = call(*usage, '--user', 'user 7', '--dataset', 'corner')
    assert (status, err.count('\n')) == (2, 1)
    assert 'leave one out' in err
    status, _, err = call('recommend', '--model', tmp_path, '--user', '7')
    assert status == 2
    assert "there are models in it: ['model']" in err
    status, _, err = call(*usage, '--user', '7')
    assert (status, err.count('\n')) == (2, 1)
    assert "no user 7; the first of 30 is 'user 0'" in err
    status, _, err = call(*usage, '--user', 'user 7', '--backbone', 'VBPR')
    assert status == 2
    assert 'not allowed with' in err


def test_of_no_run(call, results, shops):
    """The error holds the command that trains it, which then works."""
    place = ('--root', shops, '--results', results)
    wanted = ('recommend', *USAGE, *place, '--user', 3, '--seed', 5)
    status, out, err = call(*wanted)
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert "'VBPR base 5' of 'corner'" in err
    assert 'it is not finished' in err
    command = shlex.split(err.split('train it by: pyg-ckd ')[1])
    assert command[0] == 'run'
    assert call(*command, '--max-epochs', 1)[0] == 0
    assert call(*wanted)[0] == 0


def test_of_other_data(call, results, shops, tmp_path):
    folder = tmp_path / 'shops' / 'corner'
    folder.mkdir(parents=True)
    for path in (shops / 'corner').glob('*.*'):
        (folder / path.name).write_bytes(path.read_bytes())
    log = folder / 'corner.inter'
    *most, last = log.read_text().splitlines()
    log.write_text('\n'.join([*most[:-1], last.replace('\t2', '\t1'), '']))
    place = ('--root', folder.parent, '--results', results)
    status, out, err = call('recommend', *USAGE, *place, '--user', 3)
    assert (status, out) == (2, '')
    assert 'trained on other data of that name' in err


def test_of_lost_embeddings(call, results, shops):
    store = Store(results / 'corner')
    for result in store.results():
        store.embeddings(result.run.key).unlink()
    wanted = ('recommend', *USAGE, '--root', shops, '--results', results)
    wanted = (*wanted, '--user', 3)
    status, out, err = call(*wanted)
    assert (status, out) == (2, '')
    assert 'is missing' in err
    command = shlex.split(err.split('train it by: pyg-ckd ')[1])
    assert call(*command, '--max-epochs', 1)[0] == 0
    assert command[-1] == '--retry'
    assert call(*wanted)[0] == 0


def test_of_several_runs_the_last_one_counts(
    call, results, shops, data, tmp_path
):
    settings = tmp_path / 'settings.toml'
    settings.write_text('[default.VBPR]\nmodel = { dim = 2 }\n')
    place = ('--root', shops, '--results', results)
    command = ('run', *USAGE, *place, '--method', 'base', '--seed', 0)
    assert call(*command, '--settings', settings, '--max-epochs', 1)[0] == 0
    status, out, err = call(
        'recommend', *USAGE, *place, '--user', 3, '-k', 1, '--json'
    )
    assert status == 0
    store = Store(results / 'corner')
    run = store.results()[-1].run
    assert "there are 2 runs 'VBPR base 0' of 'corner' in" in err
    assert 'the last one is used' in err
    assert err.endswith(f', {run.key}\n')
    teacher = Teacher.load(store.embeddings(run.key))
    (found,) = json.loads(out)
    item = found['items'][0]['item']
    row_of = [data[node].original_id.argsort() for node in ('user', 'item')]
    score = teacher.user[row_of[0][3]] @ teacher.item[row_of[1][item]]
    assert found['items'][0]['score'] == pytest.approx(score.item(), abs=1e-5)

    (first,) = (
        one.run.key
        for one in store.results()
        if str(one.run) == 'VBPR base 0' and one.run.key != run.key
    )
    usage = ('recommend', *USAGE, *place, '--user', 3, '-k', 1, '--json')
    status, out, err = call(*usage, '--key', first[:6])
    assert (status, err) == (0, '')
    teacher = Teacher.load(store.embeddings(first))
    (found,) = json.loads(out)
    item = found['items'][0]['item']
    row_of = [data[node].original_id.argsort() for node in ('user', 'item')]
    score = teacher.user[row_of[0][3]] @ teacher.item[row_of[1][item]]
    assert found['items'][0]['score'] == pytest.approx(score.item(), abs=1e-5)


def test_of_a_failed_run(call, results, shops, tmp_path):
    settings = tmp_path / 'settings.toml'
    settings.write_text('[default.LightGCN]\ntrain = { lr = 1e30 }\n')
    usage = ('--dataset', 'corner', '--root', shops, '--results', results)
    usage = (*usage, '--backbone', 'LightGCN')
    command = ('run', *usage, '--method', 'base', '--seed', 0)
    command = (*command, '--max-epochs', 5)
    assert call(*command, '--settings', settings)[0] == 1
    status, out, err = call('recommend', *usage, '--user', 3)
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert 'it failed (ValueError' in err and 'diverged' in err
    assert err.endswith(' --seed 0 --retry\n')

    # A later run with other settings makes it good:
    assert call(*command)[0] == 0
    assert call('recommend', *usage, '--user', 3)[0] == 0


def test_numbers_are_those_of_the_files(call, results, shops):
    """What a user has in the file is what she is not recommended."""
    lines = (shops / 'corner' / 'corner.inter').read_text().splitlines()[1:]
    pairs = {tuple(map(int, line.split('\t')[:2])) for line in lines}
    place = ('--root', shops, '--results', results, '-k', 99, '--json')
    out = call('recommend', *USAGE, *place, '--user', *range(30))[1]
    found = {
        (one['user'], each['item'])
        for one in json.loads(out)
        for each in one['items']
    }
    assert found == {(u, i) for u in range(30) for i in range(25)} - pairs
