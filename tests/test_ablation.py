import json

import pytest
import torch

from pyg_ckd.balance import Teacher
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import modalities
from pyg_ckd.nn import VBPR
from pyg_ckd.objectives import BPR
from pyg_ckd.train import Recommendation
from pyg_ckd.views import full, only


@pytest.fixture(scope='module')
def script(load_benchmark):
    """The ablation, as a module."""
    return load_benchmark('ablation')


@pytest.fixture
def arguments(tmp_path):
    """An epoch of small models, on the synthetic data."""
    settings = tmp_path / 'settings.toml'
    small = 'model = { dim = 4 }\ntrain = { batch_size = 4096, lr = 1e-2 }\n'
    settings.write_text(
        f'[default.VBPR]\n{small}ckd = {{ on_random = {{ tau = 0.5 }} }}\n'
        f'[default.FREEDOM]\n{small}'
    )
    arguments = ['--device', 'cpu', '--seed', '0', '--max-epochs', '1']
    arguments += ['--results', str(tmp_path), '--settings', str(settings)]
    return arguments


def test_ablation(script, arguments, tmp_path, capsys):
    arguments += ['--variant', 'only generic', 'longer', 'ensemble']
    script.main(arguments)
    folder = tmp_path / 'fake'
    lines = (folder / 'results.jsonl').read_text().split('\n')
    results = {
        one['method']: one for one in map(json.loads, filter(None, lines))
    }
    assert list(results) == [
        'base',
        'teacher(image)',
        'teacher(text)',
        'ckd',
        'ckd[only generic]',
        'base[longer]',
        'ensemble',
    ]
    generic = results['ckd[only generic]']['settings']['ckd']
    assert generic == {'on_random': {'tau': 0.5}, 'on_batch': None}
    own = results['ckd']['settings']['ckd']
    assert own == {'on_random': {'tau': 0.5}}
    assert results['base[longer]']['settings']['fit']['patience'] == 40
    assert 'patience' not in results['base']['settings']['fit']
    assert 'specific_text' in results['ckd']['history'][0]
    assert results['ckd[only generic]']['history'][0]['specific_text'] == 0
    # The ensemble is not trained, and is none of its members:
    recall = {m: results[m]['test'] for m in results}
    assert results['ensemble']['epochs'] == 0
    assert recall['ensemble']['full'] != recall['teacher(text)']['only(text)']

    out = capsys.readouterr().out
    assert 'ckd[only generic]' in out
    page = (folder / 'ablation.html').read_text()
    for text in (' '.join(out.split()), page):
        assert 'adjusted by Holm' in text
        assert 'seed 0, 1 checkpoints: image -, text -, pooled -' in text
    script.main(arguments)
    assert '7 cells, 7 of them finished' in capsys.readouterr().out


def test_other_teachers_and_other_data(script, arguments, tmp_path, capsys):
    others = [
        'self-distilled',
        'taught by ensemble',
        'taught by FREEDOM',
        'taught by VBPR',
    ]
    arguments += ['--variant', *others, 'born again', 'standardized']
    script.main(arguments)
    folder = tmp_path / 'fake'
    lines = (folder / 'results.jsonl').read_text().split('\n')
    results = {
        (one['backbone'], one['method']): one
        for one in map(json.loads, filter(None, lines))
    }
    assert list(results) == [
        ('VBPR', 'base'),
        ('VBPR', 'teacher(image)'),
        ('VBPR', 'teacher(text)'),
        ('VBPR', 'ckd'),
        ('VBPR', 'ckd[self-distilled]'),
        ('VBPR', 'ckd[taught by ensemble]'),
        ('FREEDOM', 'teacher(image)'),
        ('FREEDOM', 'teacher(text)'),
        ('VBPR', 'ckd[taught by FREEDOM]'),
        ('VBPR', 'ckd[taught by VBPR]'),
        ('VBPR', 'ckd[born again]'),
        ('VBPR', 'base[standardized]'),
    ]
    recall = [results['VBPR', f'ckd[{name}]']['test'] for name in others]
    assert recall[3] == results['VBPR', 'ckd']['test']  # its own teachers
    assert all(one != recall[3] for one in recall[:3])
    # The full view is taught, and no modality:
    (entry,) = results['VBPR', 'ckd[born again]']['history']
    assert 'generic_full' in entry
    assert 'generic_text' not in entry
    assert 'val_recall@20/full' in entry
    data = {results[cell]['settings']['data'] for cell in results}
    assert len(data) == 2  # features are others, standardised

    args = script.parse_arguments(arguments)
    bench = script.Ablation(args, folder, script.VARIANTS)
    own = bench.teachers(('VBPR', 'ckd', 0))
    for name in others[1:3]:
        teachers = bench.teachers(('VBPR', f'ckd[{name}]', 0))
        assert list(teachers) == list(own) == [only('image'), only('text')]
        for keep, teacher in teachers.items():
            assert teacher.spread == pytest.approx(own[keep].spread, rel=1e-4)
    (path,) = (folder / 'teachers').glob('VBPR-base-0-*.pt')
    base = Teacher.load(path)
    taught = bench.teachers(('VBPR', 'ckd[self-distilled]', 0))
    assert list(taught) == list(own)
    for teacher in taught.values():
        assert torch.equal(teacher.item, base.item)
    again = bench.teachers(('VBPR', 'ckd[born again]', 0))
    assert list(again) == [full(['image', 'text'])]

    capsys.readouterr()
    path.unlink()
    script.main(arguments)
    out = capsys.readouterr().out
    assert '11 cells, 10 of them finished' in out
    assert '1 cells, 1 of them finished' in out
    page = (folder / 'ablation.html').read_text()
    assert 'VBPR ckd[self-distilled]' in page


def test_born_again_teaches_the_full_view(script, load_benchmark):
    run_all = load_benchmark('run_all')
    changed, ckd_of = run_all.changed, run_all.ckd_of
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    base, model = (VBPR.from_data(data, dim=4) for _ in range(2))
    for parameter in (*base.parameters(), *model.parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    teachers = {full(modalities(data)): Teacher.from_model(base, data)}
    settings = {'strength': 0.5, 'on_random': {'weight': 3.0, 'tau': 0.2}}
    settings = changed(settings, script.VARIANTS['born again']['ckd'])
    balance = ckd_of(settings, teachers)
    task = Recommendation(model, data, BPR(l2=0.0), balance)
    batch = next(iter(task.train_dataloader()))
    torch.manual_seed(1)
    losses = task.losses(batch)
    torch.manual_seed(1)
    generic = task.balance.triples()

    def margin(model, user, first, second):
        users, items = (x.double() for x in model(data))
        return (users[user] * (items[first] - items[second])).sum(1)

    target = (margin(base, *generic) / 0.2).sigmoid().detach()
    p = (margin(model, *generic) / 0.2).sigmoid()
    taught = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    bpr = -margin(model, *batch).sigmoid().log().mean()
    parts = losses.scalars
    assert parts['base'].item() == pytest.approx(bpr.item(), rel=1e-4)
    value = parts['generic_full'].item()
    assert value == pytest.approx(taught.item(), rel=1e-4)

    expected = bpr + 0.5 * 3.0 * taught
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-4)
    weights = list(model.parameters())
    gradients = torch.autograd.grad(losses.total, weights)
    for own, naive in zip(
        gradients, torch.autograd.grad(expected, weights), strict=True
    ):
        torch.testing.assert_close(own, naive, rtol=1e-3, atol=1e-6)
