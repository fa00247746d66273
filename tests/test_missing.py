import pytest

from pyg_ckd.experiments import Store


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
    assert main(arguments) == 0
    fake = tmp_path / 'fake'
    whole, damaged = (
        {str(result.run.method): result for result in Store(folder).results()}
        for folder in (fake, fake / f'text-{pattern}-0.5')
    )
    methods = ['base', 'image alone', 'text alone', 'CKD']
    assert list(whole) == list(damaged) == methods
    assert whole['image alone'].test == damaged['image alone'].test
    assert whole['text alone'].test != damaged['text alone'].test

    picture = fake / f'text-{pattern}-VBPR.png'
    assert picture.read_bytes().startswith(b'\x89PNG')
    out = ' '.join(capsys.readouterr().out.split())
    assert f'Plot: {picture}' in out
    what = 'noise in text' if pattern == 'noise' else 'items without text'
    assert out.count(what) == 2

    main(arguments)
    err = capsys.readouterr().err
    assert err.count('4 cells, 4 of them finished') == 2
