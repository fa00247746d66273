import json
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope='module')
def scale(load_benchmark):
    return load_benchmark('scale')


@pytest.mark.parametrize('what', ['VBPR', 'FREEDOM'])
def test_measures(scale, what, tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    made = scale.measured(tmp_path, 'shop', '-', '300')
    row = scale.measured(tmp_path, what, 'CKD', '300')
    torch.set_num_threads(threads)
    assert row['edges'] == made['edges'] > 2000
    assert row['step'] > 0
    assert row['epoch'] > row['step'] / 1000
    assert row['evaluation'] > 0
    assert row['peak'] > 0.1
    json.dumps(row)


def test_exponent(scale):
    rows = [{'edges': n, 'step': 3 * n**1.5} for n in (10, 100, 1000)]
    assert scale.exponent(rows, 'step') == pytest.approx(1.5)
    assert scale.exponent(rows, 'peak') is None
    assert scale.exponent(rows[:1], 'step') is None


def test_goes_on(scale, tmp_path, monkeypatch, capsys):
    """What was measured before is not measured again."""
    calls = []

    def measure(what, method, size):
        calls.append((what, method, size))
        Path(scale.shop_path(tmp_path, size)).touch()
        return {'edges': size, 'ready': 1.0, 'peak': size / 10}

    monkeypatch.setattr(scale, 'in_own_process', measure)
    for users in (['20'], ['20', '300']):
        arguments = ['scale.py', '--out', str(tmp_path), '--backbone', 'VBPR']
        monkeypatch.setattr('sys.argv', [*arguments, '--users', *users])
        scale.main()
    assert len(calls) == len(set(calls)) == 2 * 4
    rows = json.loads((tmp_path / 'scale.json').read_text())
    assert [row['users'] for row in rows] == [20] * 4 + [300] * 4
    assert 'over 16 GB' in capsys.readouterr().out
