import io
import json
import re
import shutil
import signal
import threading
import time
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console

from pyg_ckd.experiments import Method, Result, Run, Settings, Store
from pyg_ckd.experiments.cli.output import messages
from pyg_ckd.experiments.cli.progress import GridDisplay
from pyg_ckd.experiments.cli.table import terminal_table

#: One run a backbone, of an epoch.
QUICK = ('--seed', 0, '--max-epochs', 1, '--device', 'cpu')


@pytest.fixture
def run(call, shops, tmp_path):
    """Run a grid on the tiny data set."""

    def run(*args: object) -> tuple[int, str, str]:
        place = ('--root', shops, '--results', tmp_path / 'results')
        return call('run', '--dataset', 'corner', *place, *QUICK, *args)

    return run


@pytest.fixture
def folder(tmp_path):
    return tmp_path / 'results' / 'corner'


def named(folder: Path) -> list[str]:
    return [str(result.run) for result in Store(folder).results()]


def page_of(folder: Path) -> str:
    """Return the text of the page."""
    page = (folder / 'report.html').read_text()
    return unescape(re.sub('<[^>]+>', ' ', page))


# What comes out ##############################################################


def test_a_grid_and_its_table(run, folder):
    args = ('--backbone', 'VBPR', 'Popularity', '--note', 'tiny')
    status, out, err = run(*args)
    assert status == 0
    cells = [
        'Popularity base 0',
        'VBPR base 0',
        'VBPR scent alone 0',
        'VBPR sound alone 0',
        'VBPR CKD 0',
    ]
    assert named(folder) == cells
    assert f'5 cells, 0 of them finished before; results in {folder}' in err
    for place, name in enumerate(cells, 1):
        assert re.search(
            rf'\n{place}/5 {name}: validation Recall@20 [01]\.\d{{4}}', err
        )
    assert 'Only the base is run of Popularity' in err

    for text in ('corner, test', 'against base', 'scent alone', 'CKD'):
        assert text in out
    assert f'Report: {folder / "report.html"}\n' in out
    table = out.splitlines()[:-1]
    assert max(map(len, table)) <= 80
    parts = ('tiny', 'corner, 30 users, 25 items', 'Popularity', 'few and many')
    for text in parts:
        assert text in page_of(folder)

    status, out_again, err = run(*args, '--resume')
    assert (status, out_again) == (0, out)
    assert '5 cells, 5 of them finished before' in err
    assert len(named(folder)) == 5


def test_what_is_processed_lies_with_the_results(run, shops, tmp_path):
    assert run('--backbone', 'VBPR', '--method', 'base')[0] == 0
    assert (tmp_path / 'results' / 'data' / 'corner').is_dir()
    assert not (shops / 'corner' / 'processed').exists()


def test_json_is_that_of_the_store(finished):
    found = json.loads((finished / 'out.json').read_text())
    results = Store(finished / 'corner').results()
    names = {'table', 'comparisons', 'runs', 'failed', 'problems', 'report'}
    assert found.keys() == names
    for each in found['comparisons']:
        assert (each['backbone'], each['method']) == ('VBPR', 'CKD')
        assert each['low'] <= each['gain'] <= each['high']
        assert each['outcome'] == 'cut short'
    assert [one['key'] for one in found['runs']] == [
        result.run.key for result in results
    ]
    for one, result in zip(found['runs'], results, strict=True):
        assert one['backbone'] == result.run.backbone
        assert one['method'] == str(result.run.method)
        assert one['seed'] == result.run.seed
        assert one['test'] == result.tested
        assert one['val'] == result.val
        assert one['epochs'] == result.epochs
        assert one['seconds'] == result.seconds
        assert one['error'] == ''
    assert (found['failed'], found['problems']) == ({}, [])
    assert Path(found['report']) == finished / 'corner' / 'report.html'
    rows = {(row['backbone'], row['method']): row for row in found['table']}
    assert rows.keys() == {
        ('Popularity', 'base'),
        ('VBPR', 'base'),
        ('VBPR', 'scent alone'),
        ('VBPR', 'sound alone'),
        ('VBPR', 'CKD'),
    }
    recalls = [
        result.tested['recall@20']
        for result in results
        if (result.run.backbone, str(result.run.method)) == ('VBPR', 'CKD')
    ]
    mean = rows['VBPR', 'CKD']['recall@20'].split(' ')[0]
    assert float(mean) == pytest.approx(sum(recalls) / 2, abs=5e-5)


def test_an_objective_is_that_of_all_methods(run, folder):
    args = ('--backbone', 'VBPR', '--method', 'base', 'ckd-gate')
    assert run(*args, '--objective', 'Softmax')[0] == 0
    assert named(folder) == [
        'VBPR base, softmax 0',
        'VBPR scent alone, softmax 0',
        'VBPR sound alone, softmax 0',
        'VBPR CKD, gate, softmax 0',
    ]
    for result in Store(folder).results():
        assert result.run.settings['objective']['name'] == 'Softmax'


def test_warnings_name_the_run(run, folder):
    status, _, err = run('--backbone', 'VBPR', '--method', 'ckd')
    assert status == 0
    assert 'note of VBPR CKD 0: Epoch 1: The teacher of' in err
    assert 'UserWarning' not in err


def test_settings_and_epochs_make_other_cells(run, folder, tmp_path):
    settings = tmp_path / 'settings.toml'
    args = ('--backbone', 'VBPR', '--method', 'base')
    for dim in (4, 8):
        settings.write_text(f'[corner.VBPR]\nmodel = {{ dim = {dim} }}\n')
        err = run(*args, '--settings', settings)[2]
        assert '1 cell, 0 of them finished before' in err
    assert run(*args, '--max-epochs', 2)[0] == 0
    results = Store(folder).results()
    dims = [result.run.settings['model']['dim'] for result in results]
    assert dims == [4, 8, 64]
    assert [result.epochs for result in results] == [1, 1, 2]


def test_another_run_is_another_folder(run, tmp_path):
    args = ('--backbone', 'Popularity', '--method', 'base')
    assert run(*args, '--run', 'other')[0] == 0
    assert named(tmp_path / 'results' / 'other') == ['Popularity base 0']
    assert not (tmp_path / 'results' / 'corner').exists()


# What goes wrong #############################################################


def test_nothing_to_run(run):
    status, out, err = run('--backbone', 'BM3', '--method', 'ckd')
    assert (status, out) == (2, '')
    assert "'--method' needs to have 'base' for baselines (got ckd)" in err


def test_unknown_data(run):
    status, out, err = run('--dataset', 'nowhere')
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert "nowhere' holds neither" in err


def test_wrong_settings(run, tmp_path):
    settings = tmp_path / 'settings.toml'
    settings.write_text('[default.VBPR]\nmodel = { dims = 4 }\n')
    status, out, err = run('--backbone', 'VBPR', '--settings', settings)
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert f"'{settings}'" in err and "'dims'" in err


def test_no_gpu(run):
    torch = pytest.importorskip('torch')
    if torch.cuda.is_available():
        pytest.skip('there is one')
    status, out, err = run('--device', 'cuda')
    assert (status, out) == (2, '')
    assert "'--device cuda' needs a GPU" in err


def test_one_backbone_diverges_and_others_go_on(run, folder, tmp_path):
    settings = tmp_path / 'settings.toml'
    settings.write_text('[default.VBPR]\ntrain = { lr = 1e30 }\n')
    args = ('--backbone', 'VBPR', 'LightGCN', '--settings', settings)
    args = (*args, '--max-epochs', 5)
    status, out, err = run(*args, '--method', 'base', 'ckd')
    assert status == 1
    assert '4 runs failed; --retry tries again:' in err
    assert re.search('VBPR base 0: ValueError: .*diverged', err)
    assert 'VBPR CKD 0: it was not run, as a teacher failed' in err
    assert 'LightGCN' in out and 'VBPR' not in out
    assert 'diverged' in page_of(folder)

    # Failed cells stay so until they are tried again:
    *args, _ = args, args
    args = ('--backbone', 'VBPR', '--method', 'base', '--max-epochs', 5)
    args = (*args, '--settings', settings)
    status, out, err = run(*args)
    assert status == 1
    assert '1 cell, 1 of them finished before' in err
    assert out == f'Report: {folder / "report.html"}\n'
    count = len((folder / 'results.jsonl').read_text().splitlines())
    status, out, err = run(*args, '--retry', '--json')
    assert status == 1
    assert '1 cell, 0 of them finished before' in err
    lines = (folder / 'results.jsonl').read_text().splitlines()
    assert len(lines) == count + 1
    found = json.loads(out)
    assert found['table'] == []
    assert found['report'] == str(folder / 'report.html')
    assert 'diverged' in found['failed']['VBPR base 0']
    assert 'diverged' in found['runs'][0]['error']


def test_a_broken_line_is_named_and_its_cell_run_again(run, folder):
    args = ('--backbone', 'VBPR', '--method', 'base', 'teachers')
    assert run(*args)[0] == 0
    log = folder / 'results.jsonl'
    first, second, third = log.read_bytes().splitlines()
    log.write_bytes(b'\n'.join([first, b'\xff' + second, third, b'']))
    status, out, err = run(*args, '--json')
    assert status == 0
    assert '3 cells, 2 of them finished before' in err
    assert '3/3 VBPR scent alone 0: ' in err
    assert '1 problem in the folder:' in err
    assert f"'{log}', line 2" in err
    (problem,) = json.loads(out)['problems']
    assert f"'{log}', line 2" in problem
    assert f"'{log}', line 2" in page_of(folder)


@pytest.mark.parametrize(
    ('sent', 'ended', 'status_then'),
    [
        (signal.SIGINT, 'interrupted', 130),
        (signal.SIGTERM, 'ended by the system', 143),
    ],
)
def test_ended_it_goes_on(
    sent, ended, status_then, shops, tmp_path, start, call
):
    settings = tmp_path / 'settings.toml'
    settings.write_text(
        '[default.VBPR]\nmodel = { dim = 4 }\n'
        'fit = { eval_every = 1, patience = 2000, max_epochs = 100 }\n'
    )
    args = ('run', '--dataset', 'corner', '--root', shops, '--settings')
    args = (*args, settings, '--backbone', 'VBPR', '--method', 'base')
    args = (*args, '--seed', 0, '--device', 'cpu', '--results')
    process = start(*args, tmp_path / 'stopped')
    running = tmp_path / 'stopped' / 'corner' / 'running'
    end = time.monotonic() + 120
    while not list(running.glob('*.ckpt')) and time.monotonic() < end:
        time.sleep(0.01)
    assert list(running.glob('*.ckpt'))
    process.send_signal(sent)
    out, err = process.communicate()
    assert (process.returncode, out) == (status_then, '')
    assert err.endswith(f'{ended}; the same command goes on where it stopped\n')
    assert 'Traceback' not in err
    assert not (running.parent / 'results.jsonl').exists()

    status, out, err = call(*args, tmp_path / 'stopped')
    assert status == 0
    assert 'VBPR base 0 goes on where it stopped' in err
    assert call(*args, tmp_path / 'whole')[0] == 0
    (stopped,), (whole,) = (
        Store(tmp_path / name / 'corner').results()
        for name in ('stopped', 'whole')
    )
    assert stopped.history == whole.history
    assert stopped.test == whole.test


def test_cells_of_other_processes_are_waited_for(run, folder):
    args = ('--backbone', 'Popularity', '--method', 'base')
    assert run(*args)[0] == 0
    (result,) = Store(folder).results()
    (folder / 'results.jsonl').unlink()
    other = Store(folder)
    claim = other.claim(result.run.key)
    assert claim.__enter__()

    def finish():
        other.save(result)
        claim.__exit__(None, None, None)

    timer = threading.Timer(1.5, finish)
    timer.start()
    status, out, err = run(*args)
    timer.join()
    assert status == 0
    assert err.count('waiting for 1 cell that other processes train') == 1
    assert '1/1' not in err
    assert 'Popularity' in out


# What is shown ###############################################################


def test_display_on_a_terminal(tmp_path):
    store = Store(tmp_path)
    runs = [
        Run('shop', 'InteractionKNN', Method.student('CKD', name='CKD, x'), i)
        for i in (0, 1)
    ]
    store.save(Result(runs[0]))
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    with GridDisplay(console, runs, store) as display:
        assert display.done == 1
        display.begin(runs[1])
        display.epoch(runs[1], 5, {'val_recall@20': 0.25})
        display.epoch(runs[1], 10, {'val_recall@20': 0.2})
        display.epoch(runs[1], 11, {})
        display._live.refresh()
        shown = plain(file.getvalue())
        result = Result(runs[1], val={'recall@20': 0.25}, seconds=65)
        store.save(result)
        display.end(runs[1], result)
        display.waiting(runs)
        display._live.refresh()
        before = len(file.getvalue())
        display.begin(runs[0])
        display._live.refresh()
    assert '1/2' in shown
    assert (
        'InteractionKNN CKD, x 1: epoch 11, best validation Recall@20 0.2500 '
        'at 5, 0 s' in shown
    )
    text = plain(file.getvalue())
    assert (
        '2/2 InteractionKNN CKD, x 1: validation Recall@20 0.2500, 1 min 5 s'
        in text
    )
    assert 'waiting for 2 cells that other processes train' in text
    after = plain(file.getvalue()[before:])
    assert 'InteractionKNN CKD, x 0: epoch 0' in after
    assert 'waiting' not in after
    assert max(map(len, text.splitlines())) <= 80


def plain(text: str) -> str:
    """Return what was written to a terminal without its control codes."""
    text = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', text)
    return text.replace('\r', '\n')


def test_tables_of_several_seeds_are_narrow():
    results = []
    for method, gain in ((Method(), 0.0), (Method.student('CKD'), 0.01)):
        method = (
            method
            if gain == 0
            else Method.student('CKD', name='CKD, self-distilled')
        )
        for seed in (0, 1):
            recall = 0.3 + gain + 0.02 * seed * (1 if gain else -1)
            run = Run('shop', 'InteractionKNN', method, seed)
            results.append(Result(run, test={'full': {'recall@20': recall}}))
    file = io.StringIO()
    console = Console(file=file, width=80)
    console.print(terminal_table(results, 'shop, test'))
    out = file.getvalue()
    assert max(map(len, out.splitlines())) <= 80
    for text in ('InteractionKNN', 'CKD, self-distilled', '0.3200 ± 0.0141'):
        assert text in out
    assert 'cut short' not in out
    file = io.StringIO()
    Console(file=file, width=120).print(terminal_table(results, 'shop, test'))
    assert re.search(r'no significant gain *\n *\(\+', file.getvalue())


def test_a_table_has_room_for_all_there_is():
    softmax = Method(objective='CosineSoftmax')
    results = [
        Result(
            Run('shop', 'InteractionKNN', method, seed),
            test={
                'full': {
                    'recall@20': 0.3 + place * (0.1 + seed * 0.02),
                    'tail_recall@20': 0.125,
                    'coverage@20': 0.75,
                }
            },
            val={'recall@20': 0.1 * place},
        )
        for place, method in enumerate(
            (Method(), softmax, replace(softmax, kind='student', balance='CKD'))
        )
        for seed in (0, 1)
    ]
    file = io.StringIO()
    Console(file=file, width=80).print(terminal_table(results, 'shop'))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    head = next(line for line in lines if 'recall@20' in line)
    assert head.split()[:4] == ['method', 'recall@20', 'tail', 'coverage']
    assert 'against best' in head
    (base,) = (line for line in lines if line.startswith('  base  '))
    assert '0.3000 ± 0.0000  0.1250  0.7500    no significant loss' in base
    (best,) = (line for line in lines if 'best base' in line and '0.4' in line)
    assert best.startswith('  base, cosine')


def test_rows_that_were_cut_short_are_marked():
    fit = {'max_epochs': 5, 'monitor': 'val_recall@20'}
    results = [
        Result(
            Run('shop', backbone, Method(), 0, {'fit': fit}),
            test={'full': {'recall@20': 0.5}},
            history=[
                {'epoch': epoch, 'val_recall@20': value}
                for epoch, value in zip((4, 5), values, strict=True)
            ],
            epochs=5,
        )
        for backbone, values in (('A', (0.1, 0.2)), ('B', (0.2, 0.1)))
    ]
    file = io.StringIO()
    Console(file=file, width=80).print(terminal_table(results, 'shop'))
    lines = file.getvalue().splitlines()
    assert [line.split()[1] for line in lines if '0.5000' in line] == [
        '0.5000*',
        '0.5000',
    ]
    assert '* cut short' in lines[-1]


@pytest.mark.parametrize('name', ['data', '..', 'a/b', '/tmp'])
def test_names_of_other_folders(call, tmp_path, name):
    status, out, err = call('run', '--results', tmp_path, '--run', name)
    assert (status, out) == (2, '')
    assert "'--run' needs to be the name of a folder" in err
    assert list(tmp_path.iterdir()) == []


def test_settings_lie_over_those_of_the_library(call, tmp_path):
    settings = tmp_path / 'settings.toml'
    settings.write_text('[fake.VBPR]\nmodel = { dim = 3 }\n')
    args = ('run', '--settings', settings, '--results', tmp_path, '--json')
    args = (*args, '--backbone', 'VBPR', 'LightGCN', '--method', 'base')
    args = (*args, '--seed', 0, '--max-epochs', 1)
    assert call(*args)[0] == 0
    found = {r.run.backbone: r.run for r in Store(tmp_path / 'fake').results()}
    assert found['VBPR'].settings['model']['dim'] == 3
    ours = Settings.read().of('fake', 'LightGCN')['train']['lr']
    assert found['LightGCN'].settings['train']['lr'] == ours

    settings.write_text('[fake.VBRP]\nmodel = { dim = 3 }\n')
    status, out, err = call(*args)
    assert (status, out) == (2, '')
    assert f"'{settings}' has settings of 'VBRP', which is no backbone" in err

    settings.write_text('[corner.VBPR]\nmodel = { dim = 3 }\n')
    status, out, err = call(*args)
    assert (status, out) == (2, '')
    assert f"'{settings}' has settings of corner, none of 'fake'" in err


def test_methods_that_need_two_modalities(call, shops, tmp_path):
    folder = tmp_path / 'deaf'
    shutil.copytree(shops / 'corner', folder)
    (folder / 'corner.inter').rename(folder / 'deaf.inter')
    (folder / 'sound_feat.npy').unlink()
    place = ('--root', tmp_path, '--results', tmp_path / 'results')
    args = ('run', '--dataset', 'deaf', *place, *QUICK, '--backbone', 'VBPR')
    said = "'deaf' has scent as its only modality, and ckd needs two"
    status, out, err = call(*args, '--method', 'base', 'ckd')
    assert status == 0
    assert f'{said}: left out' in err
    status, out, err = call(*args, '--method', 'ckd')
    assert (status, out) == (2, '')
    assert f'{said}; nothing to run' in err


def test_data_set_by_its_path(call, shops, tmp_path, monkeypatch):
    monkeypatch.chdir(shops)
    args = ('run', '--backbone', 'Popularity', '--method', 'base', '--seed', 0)
    for number, path in enumerate((shops / 'corner', './corner')):
        results = tmp_path / str(number)
        assert call(*args, '--dataset', path, '--results', results)[0] == 0
        (result,) = Store(results / 'corner').results()
        assert result.run.dataset == 'corner'
        assert result.environment['wall_seconds'] >= 0


def test_a_log_is_no_terminal(monkeypatch):
    """Notebooks and CI services ask for colours where nothing can move."""
    monkeypatch.setenv('FORCE_COLOR', '1')
    assert not messages().is_terminal
