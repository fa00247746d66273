import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import modalities
from pyg_ckd.nn import VBPR
from pyg_ckd.views import full, only

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / 'benchmarks' / 'results'


@pytest.fixture(scope='module')
def speed(load_benchmark):
    return load_benchmark('speed')


@pytest.fixture(scope='module')
def speed_page(load_benchmark):
    return load_benchmark('speed_page')


@pytest.fixture(scope='module')
def data():
    return FakeMultimodal(num_users=200, num_items=80)[0]


def test_a_figure_is_a_median_with_quartiles(speed):
    values = torch.rand(15).tolist()
    figure = speed.Figure.of('a / b', values, '<=', 1.5)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    assert (figure.low, figure.value, figure.high) == pytest.approx(
        (low, middle, high)
    )
    assert figure.runs == 15
    alone = speed.Figure.of('a', [3], '<=')
    assert (alone.low, alone.value, alone.high) == (3, 3, 3)
    assert alone.cells() == ('a', '3.00', '', '', '')


@pytest.mark.parametrize(
    ('better', 'target', 'verdict'),
    [
        ('<=', 2, 'met'),
        ('<=', 1.9, 'MISSED'),
        ('>=', 2, 'met'),
        ('>=', 2.1, 'MISSED'),
        ('<=', None, ''),
    ],
)
def test_verdict(speed, better, target, verdict):
    figure = speed.Figure.of('a', [2.0], better, target)
    assert figure.verdict() == figure.cells()[-1] == verdict


def figure(speed, value, better='<=', spread=0.1, unit='', what='a / b'):
    values = [value * (1 - spread), value, value * (1 + spread)]
    return speed.Figure.of(what, values, better, None, unit)


@pytest.mark.parametrize('better', ['<=', '>='])
def test_a_ratio_that_is_worse_is_told(speed, better):
    """Worse is what lies beyond the quartiles of both, by a tenth."""
    before = figure(speed, 2.0, better)  # quartiles 1.9 and 2.1
    for factor, is_worse in ((1, 0), (1.2, 0), (1.25, 1), (0.5, 0), (2, 1)):
        value = 2.0 * factor if better == '<=' else 2.0 / factor
        now = figure(speed, value, better)
        lines = speed.regressions([now], [before])
        assert len(lines) == is_worse, (factor, lines)
    beyond = factor * 0.95 / 1.05 - 1
    assert f'worse by {beyond:.0%}' in lines[0]
    assert 'a / b: ' in lines[0]
    assert 'it was 2.00 (1.90 to 2.10)' in lines[0]


def test_a_wide_spread_hides_more(speed):
    before, now = figure(speed, 2.0), figure(speed, 2.6)
    assert speed.regressions([now], [before])
    before = figure(speed, 2.0, spread=0.8)
    assert not speed.regressions([now], [before])


def test_what_is_not_compared(speed):
    """Seconds of another machine; and what is new is told."""
    before, now = (figure(speed, v, unit='ms') for v in (2.0, 20.0))
    assert not speed.regressions([now], [before])
    (line,) = speed.regressions([figure(speed, 1.0, what='new')], [before])
    assert 'new: not in the file' in line


def test_a_count_that_was_zero(speed):
    none, one = (speed.Figure.of('wrong', [n], '<=', 0) for n in (0, 1))
    assert not speed.regressions([none], [none])
    assert not speed.regressions([none], [one])
    assert len(speed.regressions([one], [none])) == 1


def test_writes_and_compares(speed, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, 'load', lambda args: data)
    monkeypatch.setenv('COLUMNS', '200')
    path = tmp_path / 'speed.json'
    known = speed.environment(None)
    other = [vars(figure(speed, 1.0))]
    path.write_text(
        json.dumps({'loop': {'environment': known, 'figures': other}})
    )
    speed.main(['--only', 'sampler', '--out', str(path)])
    report = json.loads(path.read_text())
    assert list(report) == ['loop', 'sampler']
    assert report['loop']['figures'] == other
    ratio, _, wrong = speed.figures_of(report['sampler'])
    assert ratio.low <= ratio.value <= ratio.high
    assert wrong.value == 0
    assert 'sampler: loop over users / ours' in capsys.readouterr().out

    # As fast as before, and a hundredth of it:
    against = ['--only', 'sampler', '--against', str(path)]
    for row in report['sampler']['figures']:
        row['low'] /= 10
    path.write_text(json.dumps(report))
    speed.main(against)
    for row in report['sampler']['figures']:
        row['low'] *= 1000
    path.write_text(json.dumps(report))
    with pytest.raises(SystemExit, match=r'Slower.*\n- sampler: loop over'):
        speed.main(against)


@pytest.mark.parametrize('key', ['data', 'threads'])
def test_refuses_what_was_measured_in_another_way(speed, tmp_path, key):
    known = {**speed.environment(None), key: 'other'}
    path = tmp_path / 'speed.json'
    path.write_text(
        json.dumps({'sampler': {'environment': known, 'figures': []}})
    )
    with pytest.raises(SystemExit, match=f"measured with {key} 'other'"):
        speed.main(['--only', 'sampler', '--against', str(path)])


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', 'cannot be read'),
        ('[]', 'no output of'),
        ('{"step": {"figures": []}}', 'no output of'),
        ('{"step": {"figures": [{"what": 1}]}}', 'no output of'),
    ],
)
def test_refuses_other_files(speed, tmp_path, text, message):
    path = tmp_path / 'other.json'
    path.write_text(text)
    with pytest.raises(SystemExit, match=message):
        speed.main(['--only', 'sampler', '--against', str(path)])
    with pytest.raises(SystemExit, match='cannot be read'):
        speed.main(['--against', str(tmp_path / 'none.json')])


@pytest.mark.parametrize('study', ['step', 'gradients', 'evaluation'])
def test_studies(speed, data, monkeypatch, study):
    """Each runs on a small shop; the others take longer."""
    shares = functools.partial(speed.profiled_shares, runs=1)
    monkeypatch.setattr(speed, 'profiled_shares', shares)
    monkeypatch.setattr(speed, 'BACKBONES', {VBPR: 1.5})
    figures = speed.STUDIES[study](data)
    assert len(figures) == {'step': 4, 'gradients': 2, 'evaluation': 2}[study]
    for found in figures:
        assert 0 < found.low <= found.value <= found.high
        assert found.runs in (1, 9, 15, 31)
    if study == 'step':
        assert figures[-1].high <= 1  # a share


def test_memory(speed, data, tmp_path, capsys):
    path = tmp_path / 'data.pt'
    torch.save(data.to_dict(), path)
    speed.train_and_print_memory('base', str(path))
    assert float(capsys.readouterr().out.split()[-1]) > 0.1


def test_three_forwards_are_those_of_the_model(speed, data):
    """The yardstick is slow, and no other."""
    base = speed.task(VBPR, data)
    keeps = [full(modalities(data)), *map(only, modalities(data))]
    ours = base.model.views(data, keeps)
    naive = speed.Naive(base.model).views(data, keeps)
    for view in range(len(keeps)):
        for a, b in zip(
            ours.embedding(view), naive.embedding(view), strict=True
        ):
            assert torch.allclose(a, b, atol=1e-6)


def test_the_page_is_that_of_the_figures(speed_page):
    page = (REPOSITORY / 'benchmarks' / 'SPEED.md').read_text('utf-8')
    assert page == speed_page.page(RESULTS), (
        "'benchmarks/speed_page.py' has to be run"
    )


def test_page_says_what_is_missed(speed, speed_page):
    figures = [
        vars(speed.Figure.of('slow / ours', [9.0], '>=', 10)),
        vars(speed.Figure.of('ours / fast', [1.0], '<=', 2)),
    ]
    known = speed.environment(None)
    study = {'environment': known, 'figures': figures}
    text = '\n'.join(speed_page.cpu({'sampler': study}))
    assert 'Targets met: 1 of 2.' in text
    assert 'Missed:\n- slow / ours\nNot measured: step,' in text
    assert '| slow / ours | 9.00 |  | >= 10 | MISSED |' in text
    assert '| ours / fast | 1.00 |  | <= 2 | met |' in text


def test_page_says_how_long_kernels_run(speed_page):
    steps = json.loads((RESULTS / 'gpu.json').read_text())['steps']
    text = speed_page.kernels(steps)
    assert text.startswith('Kernels run for 10 to 23 %, of EgoGCN 35 %: most')
    busy = [row | {'share of kernels': 0.6} for row in steps]
    assert speed_page.kernels(busy).endswith(' 60 %.')


def test_page_says_where_growth_is_missed(speed_page):
    rows = [
        {'what': what, 'users': n, 'edges': n, 'large_epoch': n**p, 'peak': 1}
        for what, p in (('VBPR', 1.0), ('LightGCN', 1.3))
        for n in (10, 100, 1000)
    ]
    text = '\n'.join(speed_page.growth(rows))
    assert '- VBPR: 1.00, of 3 sizes: met' in text
    assert '- LightGCN: 1.30, of 3 sizes: MISSED' in text


def test_processes_are_those_of_the_guide():
    """`ddp.json` holds the table of `docs/cluster.md`."""
    guide = (REPOSITORY / 'docs' / 'cluster.md').read_text('utf-8')
    rows = re.findall(
        r'^\| (.+?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$',
        guide,
        re.M,
    )
    expected = []
    for what, *values in rows:
        small, large = np.array(values, float).reshape(2, 2)
        for batch, (wall, used) in ((4096, small), (32768, large)):
            expected.append(
                {
                    'what': what,
                    'batch': batch,
                    'wall': wall,
                    'processor': used,
                }
            )
    assert expected
    assert json.loads((RESULTS / 'ddp.json').read_text()) == expected
