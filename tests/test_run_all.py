import importlib.util
import inspect
import json
import re
import shutil
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch

from pyg_ckd.analysis import Result, load_results, report
from pyg_ckd.balance import Teacher
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.datasets.export import to_lattice
from pyg_ckd.nn import VBPR
from pyg_ckd.views import only

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCRIPT = Path(__file__).resolve().parents[1] / 'benchmarks' / 'run_all.py'


@pytest.fixture(scope='module')
def script():
    """The benchmark, as a module."""
    spec = importlib.util.spec_from_file_location('run_all', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(script, tmp_path, capsys):
    """Run the benchmark for an epoch and return what it prints."""

    def run(*arguments: str) -> str:
        fixed = ['--max-epochs', '1', '--device', 'cpu', '--seed', '0']
        fixed += ['--results', str(tmp_path / 'results')]
        script.main([*fixed, *arguments])
        return capsys.readouterr().out

    return run


def methods(folder: Path) -> list[str]:
    lines = (folder / 'results.jsonl').read_text().split('\n')
    return [json.loads(line)['method'] for line in lines if line]


def page_of(folder: Path) -> str:
    """Return the text of the report."""
    page = (folder / 'report.html').read_text()
    return unescape(re.sub('<[^>]+>', ' ', page))


def test_offline_default_resumes(run, tmp_path):
    folder = tmp_path / 'results' / 'fake'
    cells = ['base', 'teacher(image)', 'teacher(text)', 'ckd']

    out = run('--backbone', 'VBPR', '--method', 'base')
    assert '1 cells, 0 of them finished before' in out
    assert methods(folder) == ['base']

    out = run('--backbone', 'VBPR')
    assert '4 cells, 1 of them finished before' in out
    assert methods(folder) == cells
    assert 'against base' in out

    page = (folder / 'report.html').read_text()
    for text in ('id="views"', 'id="weights"', 'id="curves"', '1,000 users'):
        assert text in page
    assert '10,000 bootstrap resamples' in page_of(folder)

    # A run that was killed leaves half a line, and a teacher may get lost:
    log = folder / 'results.jsonl'
    log.write_text(log.read_text()[:-20])
    (teacher,) = (folder / 'teachers').glob('VBPR-teacher(text)-0-*.pt')
    teacher.unlink()
    out = run('--backbone', 'VBPR')
    assert '4 cells, 2 of them finished before' in out
    assert '4 cells, 4 of them' in run('--backbone', 'VBPR')


def test_teachers_of_other_settings_are_others(run, tmp_path):
    for epochs in ('1', '2', '1'):
        arguments = ['--method', 'teachers', '--max-epochs', epochs]
        out = run('--backbone', 'VBPR', *arguments)
    assert '2 cells, 2 of them finished before' in out
    teachers = tmp_path / 'results' / 'fake' / 'teachers'
    for m in ('image', 'text'):
        assert len(list(teachers.glob(f'VBPR-teacher({m})-0-*.pt'))) == 2


def test_metrics_of_users(run, shop, tmp_path):
    folder = tmp_path / 'results' / 'corner'
    arguments = [*arguments_for(shop), '--backbone', 'VBPR']
    out = run(*arguments)
    assert max(map(len, out.split('\n')[-40:])) <= 80
    results = load_results(folder)
    assert len(results) == 5
    for result in results:
        users = result.users
        names = ['recall@10', 'recall@20', 'ndcg@10', 'ndcg@20']
        assert list(users) == ['user', *names]
        assert users['user'].tolist() == list(range(30))
        for name in names:
            mean = result.test[result.trained_view][name]
            assert users[name].double().mean().item() == pytest.approx(mean)
    assert 'not tested' not in page_of(folder)

    # What was finished before metrics of users were kept stays finished:
    shutil.rmtree(folder / 'users')
    assert '5 cells, 5 of them finished' in run(*arguments)
    assert 'not tested' in page_of(folder)


def test_tables_of_several_seeds_are_narrow(script, capsys):
    runs = []
    for method, gain in (('base', 0.0), ('ckd[generic only]', 0.01)):
        for seed in (0, 1):
            recall = torch.rand(50) + gain
            mean = {
                f'{name}@{k}': recall.mean().item()
                for name in ('recall', 'ndcg')
                for k in (10, 20)
            }
            users = {'user': torch.arange(50), 'recall@20': recall}
            runs.append(
                Result(
                    'shop',
                    'InteractionKNN',
                    method,
                    seed,
                    test={'full': mean},
                    users=users,
                )
            )
    rows = script.summarize(runs)
    console = script.Console(width=80)
    console.print(script.terminal_table(rows, 'shop, test'))
    out = capsys.readouterr().out
    assert max(map(len, out.split('\n'))) <= 80
    for text in ('InteractionKNN', 'ckd[generic only]', rows[1]['recall@20']):
        assert text in out
    first, second = rows[1]['recall@20 against base'].split(' (')
    assert first.startswith('no significant')
    assert first in out
    assert f'({second}' in out


def test_folder_of_lattice(run, tmp_path):
    data = FakeMultimodal(num_users=40, num_items=25)[0]
    to_lattice(data, tmp_path / 'shops' / 'kiosk')
    arguments = ['--dataset', 'kiosk', '--root', str(tmp_path / 'shops')]
    out = run(*arguments, '--backbone', 'VBPR', '--method', 'base')
    assert '1 cells, 0 of them finished before' in out
    page = page_of(tmp_path / 'results' / 'kiosk')
    assert 'kiosk, 40 users, 25 items' in page


def test_changed_settings_run_again(run, tmp_path):
    settings = tmp_path / 'settings.toml'
    arguments = ['--backbone', 'VBPR', '--method', 'base']
    arguments += ['--settings', str(settings)]
    for dim in (4, 8):
        settings.write_text(
            f'[default.VBPR]\nmodel = {{ dim = {dim} }}\n'
            'train = { batch_size = 4096 }\n'
        )
        assert '1 cells, 0 of them' in run(*arguments)
    assert len(methods(tmp_path / 'results' / 'fake')) == 2


@pytest.fixture
def shop(tmp_path):
    """A tiny folder in MMRec's format, with three modalities."""
    folder = tmp_path / 'shops' / 'corner'
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    lines = ['userID\titemID\tx_label']
    for user in range(30):
        items = random.permutation(25)[:6]
        lines += [
            f'{user}\t{item}\t{label}'
            for item, label in zip(items, (0, 0, 0, 0, 1, 2), strict=True)
        ]
    (folder / 'corner.inter').write_text('\n'.join(lines) + '\n')
    for name in ('scent', 'sound', 'touch'):
        np.save(folder / f'{name}_feat.npy', random.normal(size=(25, 6)))
    return folder


def arguments_for(shop: Path) -> list[str]:
    return ['--dataset', shop.name, '--root', str(shop.parent)]


def test_settings_make_each_model(script):
    """And the objective, the task and CKD, of data sets of all names."""
    sections = tomllib.loads(SCRIPT.with_name('settings.toml').read_text())
    assert script.MODELS.keys() <= {*sections['default'], *sections['fake']}
    data = FakeMultimodal(num_users=20, num_items=15)[0]
    teacher = Teacher.from_model(VBPR.from_data(data, dim=4), data)
    teachers = {only(m): teacher for m in ('image', 'text')}
    for kind, section in sections.items():
        for name, own in section.items():
            place = f'{kind}.{name}'
            parts = {'model', 'objective', 'train', 'fit', 'ckd'}
            assert own.keys() <= parts, place
            backbone = script.MODELS[name]
            graph = data
            if backbone.pre_transform is not None:
                graph = backbone.pre_transform(data)
            model = backbone.from_data(graph, **own.get('model', {}))
            objective = own.get('objective')
            balance = None
            if name in script.BACKBONES:
                balance = script.ckd_of(own.get('ckd', {}), teachers)
            task = script.Recommendation(
                model,
                graph,
                script.BPR(**objective) if objective else None,
                balance,
                **own.get('train', {}),
            )
            assert task.model is model, place
            inspect.signature(script.fit).bind(task, **own.get('fit', {}))


@pytest.mark.parametrize('backbone', ['FREEDOM', 'LightGCN'])
def test_folder_with_modalities_of_any_name(run, shop, tmp_path, backbone):
    arguments = arguments_for(shop)
    out = run(*arguments, '--backbone', backbone, '--note', 'tiny')
    assert '5 cells' in out
    results = tmp_path / 'results' / 'corner' / 'results.jsonl'
    last = json.loads(results.read_text().split('\n')[-1])
    assert {'full', 'only(scent)', 'without(scent)'} <= set(last['test'])
    assert 'tiny' in page_of(results.parent)
    assert sorted(path.name for path in shop.iterdir()) == [
        'corner.inter',
        'scent_feat.npy',
        'sound_feat.npy',
        'touch_feat.npy',
    ]


def test_baselines_come_first_and_as_base_only(run, shop, tmp_path):
    names = ['Popularity', 'InteractionKNN', 'FeatureKNN', 'BPRMF']
    names += ['LightGCN-ID', 'BM3']
    out = run(*arguments_for(shop), '--backbone', 'VBPR', *names)
    assert '11 cells, 0 of them finished before' in out
    assert out.count('Only the base is run of Popularity, Interact') == 1
    folder = tmp_path / 'results' / 'corner'
    found = [(one.backbone, one.method) for one in load_results(folder)]
    assert found[:6] == [(name, 'base') for name in names]
    assert [name for name, _ in found[6:]] == ['VBPR'] * 5
    page = page_of(folder)
    assert ', '.join(names) in page
    assert 'Each modality alone' in page

    lines = (folder / 'results.jsonl').read_text().split('\n')
    results = {
        one['backbone']: one for one in map(json.loads, filter(None, lines))
    }
    # No recommendation of theirs depends on a modality, of FeatureKNN's it does
    for name in names:
        views = results[name]['test']
        assert len(views) == 7
        same = all(view == views['full'] for view in views.values())
        assert same == (name != 'FeatureKNN')
    for name in names[:3]:
        (entry,) = results[name]['history']
        assert entry['val_recall@20'] == results[name]['val']['recall@20']
        assert results[name]['epochs'] == 0


def test_baselines_alone(run, shop, tmp_path):
    arguments = [*arguments_for(shop), '--backbone', 'Popularity']
    out = run(*arguments, '--method', 'base')
    assert '1 cells, 0 of them' in out
    assert 'Only the base' not in out
    folder = tmp_path / 'results' / 'corner'
    assert 'Each modality alone' not in page_of(folder)
    with pytest.raises(SystemExit, match='Nothing to run'):
        run(*arguments, '--method', 'teachers', 'ckd')


def test_settings_fall_back_to_the_default(run, shop, tmp_path):
    settings = tmp_path / 'settings.toml'
    settings.write_text(
        '[default.InteractionKNN]\nmodel = { k = 3 }\n'
        '[default.FeatureKNN]\nmodel = { k = 3 }\n'
        '[corner.FeatureKNN]\nmodel = { k = 4 }\n'
    )
    arguments = [*arguments_for(shop), '--settings', str(settings)]
    run(*arguments, '--backbone', 'InteractionKNN', 'FeatureKNN')
    results = tmp_path / 'results' / 'corner' / 'results.jsonl'
    lines = filter(None, results.read_text().split('\n'))
    used = [json.loads(line)['settings']['model'] for line in lines]
    assert used == [{'k': 3}, {'k': 4}]


def test_light_gcn_of_ids_uses_no_modality():
    """The name promises it, the settings make it so."""
    sections = tomllib.loads(SCRIPT.with_name('settings.toml').read_text())
    found = [
        section['LightGCN-ID']['model']['use']
        for section in sections.values()
        if 'LightGCN-ID' in section
    ]
    assert len(found) >= 2
    assert all(use == [] for use in found)


def test_settings_become_objective_and_parts(script):
    """Whatever the settings say of a cell is what trains it."""
    settings = {
        'strength': 0.3,
        'on_random': {'tau': 0.5, 'weight': 2.0},
        'on_batch': None,
        'weights': {'effect': 'average'},
        'gate': True,
    }
    data = FakeMultimodal(num_users=20, num_items=10)[0]
    model = VBPR.from_data(data, dim=4)
    teachers = {only('text'): Teacher.from_model(model, data, only('text'))}
    ckd = script.ckd_of(settings, teachers)
    assert dict(ckd.teachers) == teachers
    assert (ckd.strength, ckd.gate, ckd.on_batch) == (0.3, True, None)
    assert (ckd.on_random.tau, ckd.on_random.weight) == (0.5, 2.0)
    assert ckd.on_random.num_pairs == 5000
    assert (ckd.weights.effect, ckd.weights.reference) == (
        'average',
        'student',
    )
    assert settings['weights'] == {'effect': 'average'}
    assert isinstance(script.ckd_of({}, teachers).on_batch, script.Hinge)

    changes = {'ckd': {'on_random': {'tau': 0.1}, 'on_batch': None}}
    old = {'ckd': {'on_random': {'weight': 3.0, 'tau': 0.5}}, 'fit': {}}
    assert script.changed(old, changes) == {
        'ckd': {'on_random': {'weight': 3.0, 'tau': 0.1}, 'on_batch': None},
        'fit': {},
    }
    assert old['ckd'] == {'on_random': {'weight': 3.0, 'tau': 0.5}}


def test_settings_of_l2_are_used(run, tmp_path):
    """And a model with a loss of its own has none."""
    settings = tmp_path / 'settings.toml'
    found = []
    for backbone, l2 in (('VBPR', 0.0), ('VBPR', 100.0), ('BM3', None)):
        objective = '' if l2 is None else f'objective = {{ l2 = {l2} }}\n'
        settings.write_text(
            f'[default.{backbone}]\nmodel = {{ dim = 4 }}\n{objective}'
            'train = { lr = 1e-2, batch_size = 4096 }\n'
        )
        arguments = ['--backbone', backbone, '--method', 'base']
        run(*arguments, '--settings', str(settings))
        result = load_results(tmp_path / 'results' / 'fake')[-1]
        found.append(result.history[0]['loss'])
    without, much, own = found
    assert without == pytest.approx(0.69, abs=0.02)
    assert much > without + 0.01
    assert own > 1  # BM3's losses of a few cosines


#: What the page of stored results is made of: fewer rows are faster.
SHOWN = {'base', 'ckd', 'ckd[mse]', 'ckd[kl]'}


def test_stored_results_are_read(tmp_path):
    """Those of earlier versions, whose settings had other names."""
    stored = SCRIPT.parent / 'results' / 'baby.jsonl'
    shutil.copy(stored, tmp_path / 'results.jsonl')
    runs = [
        run
        for run in load_results(tmp_path)
        if run.seed == 0 and run.settings['data'] == '3ebdd32a3829'
    ]
    assert {'ckd[mse]', 'ckd[kl]'} <= {run.method for run in runs}
    latest = {
        run.method: run
        for run in runs
        if run.backbone == 'VBPR' and run.method in SHOWN
    }
    assert latest.keys() == SHOWN
    page = report(latest.values(), tmp_path / 'page.html').read_text()
    assert 'gamma' in page
