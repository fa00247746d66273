import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyg_ckd.experiments import METHODS, Method, Result, Run, Store, compare

BENCHMARKS = Path(__file__).resolve().parents[1] / 'benchmarks'
# What resampling decides, the ends of intervals and p-values:
INTERVAL = re.compile(r'\[([-+]\d+\.\d),\s([-+]\d+\.\d)\]')
P_VALUE = re.compile(r'(?:p |\| )(0\.\d\d\d?|1\.000)(?!\d)')


@pytest.fixture(scope='module')
def script(load_benchmark):
    """The script, as a module."""
    return load_benchmark('results_page')


def result(
    backbone: str,
    method: Method,
    recall: float,
    *,
    seed: int = 0,
    val: float | None = None,
    epochs: int = 10,
    last: int = 15,
    users: bool = False,
) -> Result:
    settings = {
        'fit': {'max_epochs': 20},
        'objective': {'name': method.objective},
        'balance': {'name': method.balance},
    }
    run = Run('shop', backbone, method, seed, settings)
    view = f'only({method.modality})' if method.modality else 'full'
    names = ('recall@10', 'recall@20', 'ndcg@10', 'ndcg@20')
    found = Result(
        run,
        test={view: dict.fromkeys(names, recall)},
        val={'recall@20': recall if val is None else val},
        history=[{'epoch': epochs, 'val_recall@20': 0.1}] if epochs else [],
        epochs=last if epochs else 0,
        seconds=90.0,
    )
    if users:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(200, generator=generator) * 0.2
        value = recall + noise - noise.mean()
        found.users = {'user': torch.arange(200), 'recall@20': value}
    return found


def shop() -> list[Result]:
    """Two backbones with methods, and two baselines."""
    text = Method('teacher', modality='text')
    runs = [
        result('Popularity', Method(), 0.1, epochs=0),
        result('BPRMF', Method(), 0.05),
    ]
    for seed in (0, 1):
        small = 0.001 * seed
        runs += [
            result('VBPR', Method(), 0.30, seed=seed, users=True),
            result('VBPR', text, 0.35, seed=seed, users=True),
            result('VBPR', METHODS['ckd'], 0.40, seed=seed, users=True),
            result('VBPR', METHODS['agm'], 0.3 - small, seed=seed, users=True),
        ]
    runs += [
        result('VBPR', METHODS['umt'], 0.31),
        result('FREEDOM', Method(), 0.5),
        result('FREEDOM', METHODS['ckd'], 0.45),
        result('FREEDOM', METHODS['umt'], 0.6, val=0.4, epochs=20, last=20),
        result('MGCN', Method(), 0.2),
    ]
    return runs


@pytest.fixture
def write(script, tmp_path):
    """Save results and return the page of them."""

    def write(results: list[Result], name: str = 'shop') -> str:
        store = Store(tmp_path / name)
        for each in results:
            store.save(each)
        remark = 'A made-up shop.\n\nNothing is sold.\n'
        (tmp_path / name / 'README.md').write_text(remark)
        return script.page(tmp_path)

    return write


def answers(page: str) -> dict[str, str]:
    """Return what the page says in short, by question."""
    short = page.split('## In short')[1].split('\n## ')[0]
    points = ' '.join(short.replace('\N{NO-BREAK SPACE}', ' ').split())
    return dict(re.findall(r'- \*([^*]+)\*: (.*?)(?= - \*|$)', points))


def test_in_short(write):
    found = answers(write(shop()))
    assert found['Which backbone'] == (
        'FREEDOM 0.5000 (1 seed), then VBPR 0.3000 (2 seeds), then MGCN 0.2000 '
        '(1 seed); not tested against each other. Popularity '
        '0.1000 (1 seed), not trained, is above 1 of 4 that are.'
    )
    runs = [run for run in shop() if run.run.backbone == 'VBPR']
    ckd, agm = (
        compare(
            [run for run in runs if run.run.method == Method()],
            [run for run in runs if run.run.method == METHODS[name]],
        )
        for name in ('ckd', 'agm')
    )
    gains = 'Which gains over the base of its objective'
    assert found[gains] == f'VBPR: `CKD`, {ckd}.'
    assert not any('best base' in question for question in found)
    below = f'VBPR: `AGM` ({agm}); FREEDOM: `CKD` (not tested).'
    assert found['Below the base'] == below
    assert found['What validation takes, the base included'] == (
        'VBPR: `CKD`; FREEDOM: `base`.'
    )
    assert found['Better with one modality than with all (not tested)'] == (
        'VBPR (`base` 0.3000, `text alone` 0.3500, `CKD` 0.4000).'
    )
    assert found['Not tested'] == (
        'any method for MGCN, FREEDOM; 1 of 3 for VBPR.'
    )
    assert found['Cut short'] == 'FREEDOM `UMT`; raise `--max-epochs`.'


def tables_of(page: str) -> dict[tuple[str, str], dict[str, str]]:
    """Return all rows by backbone and method."""
    found = {}
    for part in page.split('\n### ')[1:]:
        title = part.split('\n')[0].split(', ')[-1]
        lines = [line for line in part.split('\n') if line.startswith('|')]
        head, _, *rows = (
            [cell.strip() for cell in line.strip('|').split('|')]
            for line in lines
        )
        for cells in rows:
            row = dict(zip(head, cells, strict=True))
            found[row.get('backbone', title), row['method']] = row
    return found


def test_tables(write):
    page = write(shop())
    table = tables_of(page)
    assert len(table) == 11
    ckd = table['VBPR', 'CKD']
    figures = ['Recall@10', 'Recall@20', 'NDCG@10', 'NDCG@20']
    assert ckd['seeds'] == '2'
    assert [ckd[name] for name in figures] == ['0.4000 ± 0.0000'] * 4
    assert ckd['against base'].startswith('+33.3 % [')
    assert ckd['p'] == '< 0.001'
    assert ckd['minutes'] == '1.5'
    assert float(table['VBPR', 'AGM']['p']) > 0.05
    assert table['FREEDOM', 'CKD']['against base'] == 'not tested'
    assert 'p' not in table['FREEDOM', 'CKD']  # nothing was tested there
    # What was cut short does not compete:
    umt = table['FREEDOM', 'UMT']
    assert umt['Recall@20'] == '0.6000'
    assert umt['against base'] == 'cut short not tested'
    base = table['FREEDOM', 'base']
    assert [base[name] for name in figures] == ['**0.5000**'] * 4
    assert page.count('**0.') == 4
    assert page.index('Nothing is sold.') < page.index('| method |')
    # Links lead to a backbone, or to all baselines:
    titles = re.findall('^### (.*)$', page, re.MULTILINE)
    assert titles == [
        f'shop, {name}' for name in ('baselines', 'VBPR', 'FREEDOM', 'MGCN')
    ]


def table_of(page: str) -> dict[str, dict[str, str]]:
    """Return the rows of the only backbone by method."""
    return {method: row for (_, method), row in tables_of(page).items()}


def test_gains_over_the_best_base(write):
    softmax = Method(objective='Softmax')
    taught = Method.student('CKD', objective='Softmax')
    runs = []
    for method, recall, val in (
        (Method(), 0.3, 0.1),
        (softmax, 0.4, 0.2),
        (METHODS['ckd'], 0.35, 0.3),
        (taught, 0.5, 0.4),
    ):
        for seed in (0, 1):
            one = result('VBPR', method, recall, seed=seed, val=val, users=True)
            runs.append(one)
    page = write(runs)
    found = answers(page)
    gain = compare(runs[2:4], runs[6:])
    assert found['Which gains over the best base, the best by validation'] == (
        f'VBPR (best base: `base, softmax`): `CKD, softmax`, {gain}.'
    )
    # Over the better base is what counts, and tables have the other:
    assert 'Which gains over the base of its objective' not in found
    table = table_of(page)
    assert table['base, softmax']['against best base'] == 'best base'
    assert table['CKD, softmax']['against best base'] == str(gain)
    ckd = table['CKD']
    assert ckd['against base'].startswith('+16.7 %')
    assert ckd['against best base'].startswith('-12.5 %')
    assert ckd['p (best base)'] == '< 0.001'


def test_columns_that_not_all_results_have(write):
    runs = [result('VBPR', METHODS[name], 0.3) for name in ('base', 'ckd')]
    assert not {'tail', 'coverage', 'with teachers'} & {
        *table_of(write(runs))['base']
    }
    text = result('VBPR', Method('teacher', modality='text'), 0.2)
    runs[1].run = replace(runs[1].run, seed=1, teachers=(text.run.key,))
    runs[1].tested.update({'tail_recall@20': 0.25, 'coverage@20': 0.5})
    table = table_of(write([runs[1], text]))
    assert table['CKD']['tail'] == '0.2500'
    assert table['CKD']['coverage'] == '0.5000'
    assert table['CKD']['minutes'] == '1.5'
    assert table['CKD']['with teachers'] == '3.0'
    assert table['base']['tail'] == table['base']['with teachers'] == ''


def test_several_folders_and_nothing_to_compare(write):
    write([result('VBPR', Method(), 0.3)])
    other = result('SMORE', Method(), 0.2)
    other.run = replace(other.run, dataset='films')
    page = write([other], name='films')
    assert page.index('## films') < page.index('## shop')
    assert page.count('A made-up shop.') == 4
    assert 'Which gains' not in page
    assert 'Cut short*' not in page


def test_what_cannot_be_read_is_refused(script, write, tmp_path):
    write([result('VBPR', Method(), 0.3)])
    with (tmp_path / 'shop' / 'results.jsonl').open('a') as file:
        file.write('{"run"\n')
    with pytest.raises(ValueError, match=r'shop/results\.jsonl.*line 2'):
        script.page(tmp_path)
    with pytest.raises(ValueError, match='has no folder'):
        script.page(tmp_path / 'shop')


def test_the_page_is_that_of_the_results(script, tmp_path):
    committed = (BENCHMARKS / 'RESULTS.md').read_text('utf-8')
    script.main(['--out', str(tmp_path / 'page.md')])
    page = (tmp_path / 'page.md').read_text('utf-8')
    # Other releases of NumPy draw other resamples; all else is the same:
    for pattern, most in ((INTERVAL, 0.5), (P_VALUE, 0.02)):
        found, kept = (
            [
                float(n)
                for match in pattern.finditer(text)
                for n in match.groups()
            ]
            for text in (page, committed)
        )
        assert len(kept) > 20
        assert found == pytest.approx(kept, abs=most)
        page, committed = (pattern.sub('#', text) for text in (page, committed))
    assert page == committed
    short = committed.split('## In short\n\n')[1].split('\n\n## ')[0]
    # Four lines for each table of a backbone:
    assert len(short.split('\n')) <= 4 * committed.count('\n### ')


def test_minutes_of_a_gpu_are_told(write):
    """They cannot be compared with those of a CPU."""
    base, agm = METHODS['base'], METHODS['agm']
    there = [
        result('VBPR', base, 0.3),
        result('VBPR', base, 0.3, seed=1),
        result('VBPR', agm, 0.3),
    ]
    for run in there[1:]:
        run.environment['device'] = 'NVIDIA H100'
    table = tables_of(write(there))
    assert table['VBPR', 'base']['minutes'] == '1.5 (GPU: 1)'
    assert table['VBPR', 'AGM']['minutes'] == '1.5 (GPU)'
