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
    skip = [] if pattern == 'noise' else ['ckd[skip missing]']
    assert [run.method for run in runs[1]] == methods + skip
    whole, damaged = ({run.method: run.test for run in part} for part in runs)
    assert whole['teacher(image)'] == damaged['teacher(image)']
    assert whole['teacher(text)'] != damaged['teacher(text)']

    report = (fake / f'text-{pattern}.md').read_text()
    assert '| 0 | VBPR | base |' in report
    assert '| 0.5 | VBPR | ckd |' in report
    picture = fake / f'text-{pattern}-VBPR.png'
    assert picture.read_bytes().startswith(b'\x89PNG')
    assert picture.name in report

    capsys.readouterr()
    main(arguments)
    out = capsys.readouterr().out
    assert '4 cells, 4 of them finished' in out
    number = 4 + len(skip)
    assert f'{number} cells, {number} of them finished' in out
