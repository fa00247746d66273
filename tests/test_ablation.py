import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / 'benchmarks'


@pytest.fixture(scope='module')
def main():
    """The entry point of the ablation."""
    sys.path.insert(0, str(BENCHMARKS))  # it imports its neighbour
    try:
        path = BENCHMARKS / 'ablation.py'
        spec = importlib.util.spec_from_file_location('ablation', path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module.main


def test_ablation(main, tmp_path, capsys):
    settings = tmp_path / 'settings.toml'
    settings.write_text(
        '[default.VBPR]\nmodel = { dim = 4 }\n'
        'train = { batch_size = 4096, lr = 1e-2 }\nckd = { tau = 0.5 }\n'
    )
    arguments = ['--device', 'cpu', '--seed', '0', '--max-epochs', '1']
    arguments += ['--results', str(tmp_path), '--settings', str(settings)]
    arguments += ['--variant', 'only generic', 'longer', 'ensemble']
    main(arguments)
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
    assert generic == {'tau': 0.5, 'specific': None}
    assert results['ckd']['settings']['ckd'] == {'tau': 0.5}
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
    report = (folder / 'ablation.md').read_text()
    assert 'adjusted by Holm' in report
    assert (folder / 'ablation_VBPR.png').read_bytes().startswith(b'\x89PNG')
    main(arguments)
    assert '7 cells, 7 of them finished' in capsys.readouterr().out
