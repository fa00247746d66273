import pytest

from pyg_ckd.analysis import load_results


@pytest.fixture(scope='module')
def main(load_benchmark):
    """The entry point of the benchmark."""
    return load_benchmark('missing').main


@pytest.fixture
def arguments(tmp_path):
    """An epoch of small models, on the synthetic data."""
    settings = tmp_path / 'settings.toml'
    settings.write_text(
        '[default.VBPR]\nmodel = { dim = 4 }\n'
        'train = { batch_size = 4096, lr = 1e-2 }\n'
    )
    arguments = ['--device', 'cpu', '--seed', '0', '--max-epochs', '1']
    arguments += ['--results', str(tmp_path), '--settings', str(settings)]
    return arguments


@pytest.mark.parametrize('pattern', ['random', 'tail', 'noise'])
def test_levels(main, arguments, tmp_path, capsys, pattern):
    arguments += ['--pattern', pattern, '--modality', 'text']
    arguments += ['--level', '0', '0.5']
    main(arguments)
    fake = tmp_path / 'fake'
    runs = load_results(fake), load_results(fake / f'text-{pattern}-0.5')
    methods = ['base', 'teacher(image)', 'teacher(text)', 'ckd']
    assert [run.method for run in runs[0]] == methods
    assert [run.method for run in runs[1]] == methods
    whole, damaged = ({run.method: run.test for run in part} for part in runs)
    assert whole['teacher(image)'] == damaged['teacher(image)']
    assert whole['teacher(text)'] != damaged['teacher(text)']

    picture = fake / f'text-{pattern}-VBPR.png'
    assert picture.read_bytes().startswith(b'\x89PNG')
    out = ' '.join(capsys.readouterr().out.split())
    assert picture.name in out.replace(' ', '')
    what = 'noise in text' if pattern == 'noise' else 'items without text'
    assert out.count(what) >= 2

    main(arguments)
    out = capsys.readouterr().out
    assert out.count('4 cells, 4 of them finished') == 2
