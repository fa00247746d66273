from html import unescape

import pytest
import torch

from pyg_ckd.balance import Teacher
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.experiments import METHODS, Method, Result, Run, Settings, Store
from pyg_ckd.experiments.build import balance_of
from pyg_ckd.graph import modalities
from pyg_ckd.nn import VBPR
from pyg_ckd.objectives import BPR
from pyg_ckd.train import Recommendation
from pyg_ckd.views import full


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
        f'[default.VBPR]\n{small}CKD = {{ on_random = {{ tau = 0.5 }} }}\n'
        f'[default.FREEDOM]\n{small}'
    )
    arguments = ['--device', 'cpu', '--seed', '0', '--max-epochs', '1']
    arguments += ['--results', str(tmp_path), '--settings', str(settings)]
    return arguments


def test_ablation(script, arguments, tmp_path, capsys):
    arguments += ['--variant', 'only generic', 'longer', 'ensemble']
    assert script.main(arguments) == 0
    folder = tmp_path / 'fake'
    results = {str(r.run.method): r for r in Store(folder).results()}
    assert list(results) == [
        'base',
        'image alone',
        'text alone',
        'CKD',
        'CKD, only generic',
        'longer',
        'ensemble',
    ]
    settings = {name: each.run.settings for name, each in results.items()}
    generic = settings['CKD, only generic']['balance']
    assert generic['on_batch'] is None
    own = settings['CKD']['balance']
    assert generic['on_random'] == own['on_random']
    assert own['on_random']['tau'] == 0.5
    assert own['on_batch'] is not None
    assert settings['longer']['fit']['patience'] == 40
    assert settings['base']['fit']['patience'] == 10
    assert results['CKD'].history[0]['specific_text'] > 0
    assert results['CKD, only generic'].history[0]['specific_text'] == 0
    # The ensemble is not trained, and is none of its members:
    assert results['ensemble'].epochs == 0
    assert results['ensemble'].tested != results['text alone'].tested

    out = ' '.join(capsys.readouterr().out.split())
    assert 'CKD, only generic' in out
    page = unescape((folder / 'ablation.html').read_text())
    for text in (out, page):
        assert 'VBPR CKD 0, 1 checkpoints: image -, text -, pooled -.' in text
    script.main(arguments)
    assert '7 cells, 7 of them finished' in capsys.readouterr().err


def test_other_teachers_and_other_data(script, arguments, tmp_path, capsys):
    arguments += ['--variant', 'taught by FREEDOM', 'taught by VBPR']
    arguments += ['born again', 'standardized']
    assert script.main(arguments) == 0
    results = Store(tmp_path / 'fake').results()
    assert [str(result.run) for result in results] == [
        'VBPR base 0',
        'VBPR image alone 0',
        'VBPR text alone 0',
        'VBPR CKD 0',
        'FREEDOM image alone 0',
        'FREEDOM text alone 0',
        'VBPR CKD taught by FREEDOM 0',
        'VBPR born again 0',
        'VBPR standardized 0',
    ]
    recall = {str(r.run.method): r.tested['recall@20'] for r in results}
    assert len({recall['CKD'], recall['CKD taught by FREEDOM']}) == 2
    # The full view is taught, and no modality:
    (entry,) = results[-2].history
    assert 'generic_full' in entry
    assert 'generic_text' not in entry
    assert 'val_recall@20/full' in entry
    # Features are others, standardised:
    assert results[-1].run.settings['extra'] == {'standardize': True}
    assert recall['standardized'] != recall['base']
    out = ' '.join(capsys.readouterr().out.split())
    row = out.split('standardized')[1].split('FREEDOM')[0]
    assert '%' in row


def test_variants_differ(load_benchmark):
    variants = load_benchmark('variants').VARIANTS
    settings = Settings({})
    methods = [METHODS['base'], METHODS['ckd'], *variants.values()]
    assert len({str(method) for method in methods}) == len(methods)
    runs = {
        Run('fake', 'VBPR', method, 0, effective, data=method.name).key
        for method in methods
        for effective in [settings.effective('fake', 'VBPR', VBPR, method)]
    }
    assert len(runs) == len(methods)
    for name in load_benchmark('variants').CHANGES:
        changed = variants[name]
        effective = settings.effective('fake', 'VBPR', VBPR, changed)
        ckd = settings.effective('fake', 'VBPR', VBPR, METHODS['ckd'])
        assert effective['model'] == ckd['model']
        if name not in ('strength 0.01', 'tau 0.1'):
            assert effective['balance'] != ckd['balance'], name


def test_agreement(script):
    weights = [1.4, 1.3, 1.2, 1.1]
    recall = [0.04, 0.05, 0.06, 0.07]
    history = [
        {
            'epoch': epoch,
            'weight_text': weight,
            'weight_image': 2 - weight,
            'val_recall@20/only(text)': own,
            'val_recall@20/only(image)': own,
        }
        for epoch, (weight, own) in enumerate(zip(weights, recall, strict=True))
    ]
    results = [
        Result(Run('shop', 'VBPR', method, 0), val={'recall@20': 0.08})
        for method in (
            Method('teacher', modality='text'),
            Method('teacher', modality='image'),
        )
    ]
    ckd = Result(Run('shop', 'VBPR', METHODS['ckd'], 0), history=history)
    (line,) = script.agreements([*results, ckd])
    assert line.endswith(
        '4 checkpoints: text +1.00, image -1.00, pooled +0.00.'
    )
    assert script.agreements(results) == []


def test_born_again_teaches_the_full_view(script):
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    base, model = (VBPR.from_data(data, dim=4) for _ in range(2))
    for parameter in (*base.parameters(), *model.parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    teachers = {full(modalities(data)): Teacher.from_model(base, data)}
    generic = {'weight': 3.0, 'tau': 0.2, 'group_size': 1}
    ckd = {'strength': 0.5, 'on_random': generic}
    settings = Settings({'shop': {'VBPR': {'CKD': ckd}}})
    born_again = script.VARIANTS['born again']
    effective = settings.effective('shop', 'VBPR', VBPR, born_again)
    balance = balance_of(effective['balance'], teachers)
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
