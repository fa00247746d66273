import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / 'benchmarks' / 'run_all.py'


@pytest.fixture(scope='module')
def main():
    """The benchmark's entry point."""
    spec = importlib.util.spec_from_file_location('run_all', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def run(main, tmp_path, capsys):
    """Run the benchmark for an epoch and return what it prints."""

    def run(*arguments: str) -> str:
        fixed = ['--max-epochs', '1', '--device', 'cpu', '--seed', '0']
        fixed += ['--results', str(tmp_path / 'results')]
        main([*fixed, *arguments])
        return capsys.readouterr().out

    return run


def methods(folder: Path) -> list[str]:
    lines = (folder / 'results.jsonl').read_text().split('\n')
    return [json.loads(line)['method'] for line in lines if line]


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

    report = (folder / 'report.md').read_text()
    for text in ('| VBPR | ckd |', 'views.png', 'weights.png', '1,000 users'):
        assert text in report
    for plot in ('views.png', 'weights.png'):
        assert (folder / plot).read_bytes().startswith(b'\x89PNG')

    # A run that was killed leaves half a line, and a teacher may get lost:
    log = folder / 'results.jsonl'
    log.write_text(log.read_text()[:-20])
    (folder / 'teachers' / 'VBPR-teacher(text)-0.pt').unlink()
    out = run('--backbone', 'VBPR')
    assert '4 cells, 2 of them finished before' in out
    assert '4 cells, 4 of them' in run('--backbone', 'VBPR')


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


@pytest.mark.parametrize('backbone', ['LightGCN', 'FREEDOM'])
def test_folder_with_modalities_of_any_name(run, tmp_path, backbone):
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

    arguments = ['--dataset', 'corner', '--root', str(tmp_path / 'shops')]
    out = run(*arguments, '--backbone', backbone, '--note', 'tiny')
    assert '5 cells' in out
    results = tmp_path / 'results' / 'corner' / 'results.jsonl'
    last = json.loads(results.read_text().split('\n')[-1])
    assert {'full', 'only(scent)', 'without(scent)'} <= set(last['test'])
    assert 'tiny' in results.with_name('report.md').read_text()
    assert sorted(path.name for path in folder.iterdir()) == [
        'corner.inter',
        'scent_feat.npy',
        'sound_feat.npy',
        'touch_feat.npy',
    ]
