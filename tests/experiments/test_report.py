import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.experiments._report import report
from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments.method import METHODS, Method
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.statistics import compare
from pyg_ckd.experiments.tables import comparisons

NUM_USERS = 200
BASE, CKD, OGM = METHODS['base'], METHODS['ckd'], METHODS['ogm-ge']
SECTIONS = [
    'gains',
    'table',
    'views',
    'knocked-out',
    'weights',
    'curves',
    'users',
    'items',
    'cost',
    'settings',
]
VOID = {'meta'}


class Page(HTMLParser):
    """Checks that tags match, and gathers what a test asks for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.rows: list[list[str]] = []
        self.section = ''
        self.of_section: dict[str, list[str]] = {}
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        if tag in ('th', 'td'):
            self.rows[-1].append('')
        if tag == 'section':
            self.section = dict(attrs)['id']

    def handle_startendtag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1], data.strip()))
            own = self.of_section.setdefault(self.section, [])
            own.append(data.strip())
            if {'th', 'td'} & set(self.open):
                self.rows[-1][-1] += data

    def all(self, name: str) -> list[str]:
        """Return the values of an attribute."""
        return [attrs[name] for _, attrs in self.tags if name in attrs]

    def of(self, tag: str) -> list[str]:
        """Return the texts in a kind of element."""
        return [text for name, text in self.texts if name == tag]

    def row(self, *cells: str) -> list[str]:
        """Return the rest of the first row that has these cells."""
        for row in self.rows:
            for start in range(len(row)):
                if tuple(row[start : start + len(cells)]) == cells:
                    return row[start + len(cells) :]
        raise AssertionError(f'no row with {cells}')

    @property
    def sections(self) -> list[str]:
        return [attrs['id'] for tag, attrs in self.tags if tag == 'section']


def metrics(recall: Tensor) -> dict[str, float]:
    value = recall.mean().item()
    return {
        'recall@10': value / 2,
        'recall@20': value,
        'ndcg@10': value / 4,
        'ndcg@20': value / 3,
    }


def result(
    method: Method,
    seed: int,
    recall: Tensor,
    backbone: str = 'VBPR',
    teachers: tuple[str, ...] = (),
) -> Result:
    """A result of a model with two modalities, and all there is of it."""
    settings = {
        'model': {'dim': 64},
        'fit': {'max_epochs': 10},
        'balance': {'name': method.balance, 'strength': 0.5}
        if method.balance
        else None,
    }
    history = [
        {
            'epoch': epoch,
            'val_recall@20': 0.4 - 0.1 * epoch,
            'val_recall@20/only(image)': 0.05 * epoch,
            'val_recall@20/only(text)': 0.07 * epoch,
        }
        for epoch in (1, 2)
    ]
    for entry in history if method.balance == 'CKD' else []:
        entry |= {'weight_image': 1.2, 'weight_text': 0.8}
        entry |= {'specific_image': 0.6, 'specific_text': 0.3}
    base = metrics(recall)
    changes = {'noise': 0.5, 'mean': 0.75, 'shuffled': 1.0}
    return Result(
        Run('shop', backbone, method, seed, settings, 'aa', teachers),
        test={
            'full': base,
            'only(image)': metrics(recall * 0.3),
            'only(text)': metrics(recall * 0.8),
            'without(text)': metrics(recall * 0.3),
        },
        history=history,
        epochs=10,
        seconds=60,
        knocked_out={
            'base': base,
            'rows': {
                modality: {
                    kind: {name: x * share for name, x in base.items()}
                    for kind, share in changes.items()
                }
                for modality in ('image', 'text', 'all')
            },
            'depends': {'image': True, 'text': False, 'all': True},
        },
        environment={
            'revision': '27394f5',
            'date': f'2025-11-2{seed}T10:00:00+00:00',
            'torch': '2.13.0',
            'device': 'cpu',
            'threads': 2,
            'peak_memory_mb': 1000 + seed,
        },
        users={'user': torch.arange(NUM_USERS), 'recall@20': recall},
        hits={
            'item': torch.arange(NUM_USERS) % 7,
            'hit@20': (recall > 0.5).float(),
        },
    )


def runs_of(
    backbone: str,
    gain: float,
    seeds: int = 2,
    students: tuple[Method, ...] = (CKD,),
) -> list[Result]:
    """All methods of a backbone, with metrics of users and histories."""
    runs = []
    for seed in range(seeds):
        recall = torch.rand(NUM_USERS)
        keys = []
        for m in ('image', 'text'):
            run = Run(
                'shop', backbone, Method('teacher', modality=m), seed, data='aa'
            )
            keys.append(run.key)
            test = {f'only({m})': metrics(recall * 0.9)}
            val = {'recall@20': 0.4}
            runs.append(Result(run, test=test, val=val, epochs=5, seconds=30))
        runs.append(result(BASE, seed, recall, backbone))
        for method in students:
            teachers = tuple(keys) if method.teachers == 'own' else ()
            runs.append(
                result(method, seed, recall * (1 + gain), backbone, teachers)
            )
    return runs


@pytest.fixture(scope='module')
def data() -> HeteroData:
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = NUM_USERS, 7
    user = torch.arange(NUM_USERS).repeat_interleave(
        torch.arange(NUM_USERS) % 9
    )
    data['user', 'rates', 'item'].edge_index = torch.stack([user, user % 7])
    return data


@pytest.fixture(scope='module')
def runs() -> list[Result]:
    """A gain and a loss."""
    torch.manual_seed(0)
    return runs_of('VBPR', 0.25) + runs_of('FREEDOM', -0.125)


ABOUT = ['Protocol: all items.', 'A <b>note</b>.']


@pytest.fixture(scope='module')
def path(runs, data, tmp_path_factory):
    """A page with every section."""
    file = tmp_path_factory.mktemp('report') / 'new' / 'report.html'
    assert report(runs, file, 'My shop', ABOUT, data) == file
    return file


def read(path: Path) -> tuple[str, Page]:
    text = path.read_text('utf-8')
    return text, Page(text)


def page_of(results: list[Result], tmp_path: Path, **kwargs: object) -> Page:
    return read(report(results, tmp_path / 'report.html', **kwargs))[1]


def students(runs: list[Result], method: Method = CKD) -> list[Result]:
    return [r for r in runs if r.run.method == method]


def slim(runs: list[Result]) -> list[Result]:
    """Results of which no plot but that of gains is made."""
    for run in runs:
        run.test = {run.trained_view: run.tested}
        run.history, run.hits = [], {}
    return runs


def spaces(text: str) -> str:
    return text.replace('\u00a0', ' ')


# The page ####################################################################


def test_page_is_whole_and_loads_nothing(path):
    text, page = read(path)
    assert text.startswith('<!DOCTYPE html>')
    assert not {'script', 'link', 'img', 'iframe'} & {t for t, _ in page.tags}
    assert page.all('src') == []
    assert not re.search('https?:|@import|//', text)
    ids = page.all('id')
    assert len(ids) == len(set(ids))
    targets = page.all('href') + page.all('aria-labelledby')
    targets += re.findall(r'url\((#.*?)\)', text)
    assert {target.removeprefix('#') for target in targets} <= set(ids)
    assert all(target[0] == '#' for target in page.all('href'))


def test_sections_and_contents(path):
    _, page = read(path)
    assert page.sections == SECTIONS
    links = [a['href'] for tag, a in page.tags if tag == 'a']
    assert links == [f'#{name}' for name in SECTIONS]
    assert page.of('h2') == page.of('a')
    assert page.of('h1') == ['My shop']
    # One figure of gains, and of each backbone one in four sections and two
    # in one, each with a text that stands for it:
    labels = [a['aria-label'] for _, a in page.tags if a.get('role') == 'img']
    assert len(labels) == 1 + 2 * 6
    assert len(set(labels)) == len(labels)
    assert 'VBPR: weights of modalities' in labels[3]
    assert 'image 1.20, text 0.80' in labels[3]


def test_head_says_what_ckd_is_and_when_and_by_what(path):
    _, page = read(path)
    lead, subtitle, *_ = page.of('p')
    assert 'Counterfactual knowledge distillation (CKD)' in lead
    assert lead.count('. ') == 1  # two sentences
    assert subtitle == (
        '2 recommenders on the data set shop, 4 methods, seeds 0, 1. Trained '
        '2025-11-20 to 2025-11-21, revision 27394f5 of pyg_ckd.'
    )
    made = next(x for x in page.of('span') if x.startswith('Made with'))
    assert made == 'Made with torch 2.13.0, on cpu, threads: 2.'


def test_head_without_an_environment(tmp_path):
    runs = slim(runs_of('VBPR', 0.1, seeds=1))
    for run in runs:
        run.environment = {}
    page = page_of(runs, tmp_path)
    assert page.of('p')[1] == (
        '1 recommender on the data set shop, 4 methods, seed 0.'
    )
    assert not any(text.startswith('Made with') for text in page.of('span'))
    assert page.of('h1') == page.of('title') == ['Results: shop']


def test_same_results_give_the_same_bytes(runs, data, path, tmp_path):
    again = report(runs, tmp_path / 'again.html', 'My shop', ABOUT, data)
    assert again.read_bytes() == path.read_bytes()


def test_names_are_text(data, tmp_path):
    name = '<script>alert(1)</script> & "x" $\\frac$'
    method = Method.student('CKD', name=f'{name} too')
    runs = runs_of(name, 0.1, students=(method,))
    for run in runs:
        settings = {**run.run.settings, 'model': {'x': '<img src=x>'}}
        run.run = replace(run.run, dataset=name, settings=settings)
    bad = Result(replace(runs[0].run, seed=7), error='<img src=y>')
    path = report(
        [*runs, bad], tmp_path / 'r.html', name, [name], data, ['<i>']
    )
    text, page = read(path)
    assert '<script' not in text
    assert '<img' not in text
    assert not {'script', 'img'} & {tag for tag, _ in page.tags}
    tags = ('title', 'h1', 'strong', 'th', 'td', 'figcaption', 'summary', 'dt')
    for tag in tags:
        assert any('<script>' in x for x in page.of(tag)), tag
    assert '<i>' in page.of('li')
    assert page.sections == [SECTIONS[0], 'failed', *SECTIONS[1:]]


def test_one_data_set(tmp_path):
    runs = [
        Result(Run(name, 'VBPR', BASE, seed=0)) for name in ('shop', 'store')
    ]
    for results, got in ((runs, "'shop', 'store'"), ([], 'none')):
        with pytest.raises(ValueError, match=f'one data set .*{got}'):
            report(results, tmp_path / 'report.html')
    assert list(tmp_path.iterdir()) == []


def changed(runs: list[Result], field: str, value: object) -> list[Result]:
    for run in runs:
        setattr(run, field, value)
    return runs


@pytest.mark.parametrize(
    ('name', 'missing'),
    [
        ('users', ['users']),
        ('history', ['weights', 'curves']),
        ('seconds', ['cost']),
        ('hits', ['items']),
        ('knocked_out', ['knocked-out']),
        ('environment', []),
        ('base only', ['weights', 'curves', 'users', 'items']),
        ('full view only', ['views']),
        ('nothing', SECTIONS[2:9]),
    ],
)
def test_sections_without_what_they_need(name, missing, data, tmp_path):
    runs = runs_of('VBPR', 0.1)
    if name == 'history':
        changed(runs, 'history', [])
    elif name == 'seconds':
        changed(runs, 'seconds', 0)
    elif name == 'base only':
        runs = students(runs, BASE)
    elif name == 'full view only':
        runs = [run for run in runs if 'full' in run.test]
        for run in runs:
            run.test = {'full': run.test['full']}
    elif name == 'nothing':
        runs = [Result(Run('shop', 'VBPR', BASE, 0))]
    else:
        changed(runs, name, {})
    page = page_of(runs, tmp_path, data=data)
    assert page.sections == [s for s in SECTIONS if s not in missing]


def test_users_need_data(tmp_path):
    page = page_of(runs_of('VBPR', 0.1), tmp_path)
    assert not {'users', 'items'} & set(page.sections)


def test_users_of_other_data_are_said_and_no_error(data, tmp_path):
    small = data.clone()
    small['user'].num_nodes = 10
    small['user', 'rates', 'item'].edge_index = torch.tensor([[1], [1]])
    page = page_of(runs_of('VBPR', 0.1), tmp_path, data=small)
    (text,) = (x for x in page.of('span') if x.startswith('left out'))
    assert 'it has 10 users (got user 199)' in text


# Verdicts ####################################################################


def test_headline_has_intervals(path):
    _, page = read(path)
    gain, loss = map(spaces, page.of('span')[:2])
    # Each user gains a quarter, so that every resample does:
    assert gain == '+25.0 % [+25.0, +25.0], significant'
    assert loss == 'a loss of 12.5 % [12.5, 12.5], significant'
    kinds = [
        attrs['class'] for tag, attrs in page.tags if tag == 'li' and attrs
    ]
    assert [k for k in kinds if k in ('gain', 'loss')] == ['gain', 'loss']
    assert page.of('p')[3] == (
        '2 comparisons: 1 significant gain and 1 significant loss. Over 2 '
        'seeds, 200 users.'
    )


def test_no_gain_without_an_interval(tmp_path):
    runs = changed(slim(runs_of('VBPR', 0.1, seeds=1)), 'users', {})
    runs = changed(runs, 'knocked_out', {})
    text, page = read(report(runs, tmp_path / 'report.html'))
    (reason,) = (x for x in page.of('strong') if x.startswith('Not tested'))
    assert reason == (
        'Not tested: one seed without metrics of each user allows no test:'
    )
    assert 'VBPR, CKD' in page.of('span')
    assert page.row('CKD')[-1] == 'not tested'
    assert not re.search(r'[+−-]\d+(\.\d+)?.%', text)
    assert 'p-values of all comparisons' not in page.of('summary')


def test_one_seed_is_over_users_only(tmp_path):
    page = page_of(slim(runs_of('VBPR', 0.25, seeds=1)), tmp_path)
    assert spaces(page.of('span')[0]) == (
        '+25.0 % [+25.0, +25.0], significant over users only'
    )


def test_interval_over_zero_is_not_significant(tmp_path):
    runs = slim(runs_of('VBPR', 0.1))
    for run in students(runs):
        run.users['recall@20'] = run.users['recall@20'].flip(0)
    page = page_of(runs, tmp_path)
    gain = compare(students(runs, BASE), students(runs))
    assert gain.low < 0 < gain.high
    expected = f'{gain}, not significant'.replace('-', '−')
    assert spaces(page.of('span')[0]) == expected


def test_many_comparisons_are_adjusted(tmp_path):
    torch.manual_seed(1)
    runs = []
    for i in range(6):
        own = slim(runs_of(f'model{i}', 0.0, seeds=1))
        for run in students(own):
            noise = 0.05 * (torch.randn(NUM_USERS) + 0.08 * i)
            run.users['recall@20'] = run.users['recall@20'] + noise
        runs += own
    against = comparisons(runs)
    lost = [
        key[1]
        for key, c in against.items()
        if c.p < 0.05 and c.low > 0 and not c.significant
    ]
    assert lost
    page = page_of(runs, tmp_path)
    texts = page.of_section['gains']
    text = texts[texts.index(f'{lost[0]}, CKD:') + 1]
    p = against['shop', lost[0], 'CKD'].p_adjusted
    assert text.endswith(
        f', not significant over users only (adjusted p {p:.2g})'
    )
    assert page.row(lost[0], 'CKD')[-1] == f'{p:.3f}'  # of the p-values
    said = next(x for x in page.of('span') if 'Holm' in x)
    assert 'for all 6 comparisons of this page' in said


def cut(run: Result) -> None:
    for entry in run.history:
        entry['val_recall@20'] = 0.1 * entry['epoch']
    assert run.cut_short


@pytest.mark.parametrize('method', [BASE, CKD])
def test_no_gain_of_what_was_cut_short(method, tmp_path):
    runs = runs_of('VBPR', 0.25) + runs_of('MGCN', 0.25)
    (run, *_) = students(runs, method)
    cut(run)
    text, page = read(report(runs, tmp_path / 'report.html'))
    first, second = map(spaces, page.of('span')[:2])
    assert first == (
        'cut short, let it train on (+25.0 % [+25.0, +25.0] so far)'
    )
    assert second == '+25.0 % [+25.0, +25.0], significant'
    assert page.of('p')[3].startswith(
        '2 comparisons: 1 significant gain and 1 cut short.'
    )
    cells = [a for tag, a in page.tags if tag == 'td' and a.get('class')]
    marks = [mark for a in cells for mark in a['class'].split()]
    kinds = [mark for mark in marks if mark in ('gain', 'unsure')]
    assert kinds == ['unsure', 'gain']
    # Beside the comparison and beside the row:
    assert page.of('small').count('cut short') >= 2
    assert '<small>gain</small>' in text


def test_methods_are_compared_each(tmp_path):
    runs = slim(runs_of('VBPR', 0.1, students=(CKD, OGM, METHODS['ckd-gate'])))
    for run in students(runs, OGM):
        run.users['recall@20'] = run.users['recall@20'] * 2
    texts = page_of(runs, tmp_path).of_section['gains']
    for name, gain in (
        ('VBPR, CKD:', '+10.0 % [+10.0, +10.0]'),
        ('VBPR, OGM-GE:', '+120.0 % [+120.0, +120.0]'),
        ('VBPR, CKD, gate:', '+10.0 % [+10.0, +10.0]'),
    ):
        text = spaces(texts[texts.index(name) + 1])
        assert text == f'{gain}, significant'


def test_other_bases_and_versions_are_said(tmp_path):
    runs = slim(runs_of('VBPR', 0.25) + runs_of('MGCN', 0.25))
    for run in students(runs):
        if run.run.backbone == 'VBPR':
            run.run = replace(run.run, version='0.0.1')
        else:
            run.run = replace(run.run, data='bb')
    page = page_of(runs, tmp_path)
    now = runs[0].run.version
    first = page.of('span')[0]
    assert first.startswith('not comparable (+25.0')
    assert first.endswith(f'); versions 0.0.1 and {now} of the library')
    reason = next(x for x in page.of('strong') if x.startswith('Not tested'))
    assert "'base' and 'CKD' were trained on different data" in reason
    notes = ' '.join(page.of('li'))
    assert f'Rows come from versions 0.0.1 and {now} of pyg_ckd' in notes
    assert 'Rows come from 2 states of the data set' in notes


def test_gains_over_the_best_base_come_first(tmp_path):
    softmax = Method(objective='Softmax')
    taught = Method.student('CKD', objective='Softmax')
    runs = slim(runs_of('VBPR', 0.25))
    for run in students(runs, BASE):
        run.val = {'recall@20': 0.1}
        recall = run.users['recall@20'] * 2
        for method, factor, val in ((softmax, 1, 0.2), (taught, 1.5, 0.3)):
            found = result(method, run.run.seed, recall * factor)
            found.val = {'recall@20': val}
            runs.append(found)
    runs += slim(runs_of('MGCN', 0.5))
    page = page_of(slim(runs), tmp_path)
    texts = [spaces(text) for text in page.of_section['gains']]
    best, own = (
        texts.index(text)
        for text in (
            'Against the best base by validation (VBPR base, softmax):',
            'Against the base of the same objective:',
        )
    )
    assert best < own
    assert texts[best + 1].startswith(
        '3 comparisons: 1 significant gain and 2 significant losses.'
    )
    said = dict(zip(texts[best:own], texts[best + 1 : own], strict=False))
    assert said['VBPR, base:'].startswith('a loss of 50.0 % [')
    assert said['VBPR, CKD, softmax:'].startswith('+50.0 % [+50.0')
    assert not any('MGCN' in name for name in said)
    assert texts[own + 1].startswith('4 comparisons: 4 significant gains.')
    assert page.rows[0][-1] == 'recall@20 against best base'
    row = page.row('base, softmax', '2')
    assert spaces(row[-2]) == '+100.0 % [+100.0, +100.0] gain'
    assert row[-1] == 'best base'
    assert spaces(page.row('CKD', '2')[-1]).endswith(' loss')
    assert 'p-values against the best base' in page.of('summary')
    said = next(x for x in page.of('span') if 'Holm' in x)
    assert 'this page, and apart from them for all 3 with the best base' in said
    ids = page.all('id')
    assert len(ids) == len(set(ids))


def test_tail_and_coverage(tmp_path):
    runs = slim(runs_of('VBPR', 0.25))
    page = page_of(runs, tmp_path)
    assert 'tail' not in page.rows[0]
    for run in students(runs):
        run.tested.update({'tail_recall@20': 0.25, 'coverage@20': 0.5})
    page = page_of(runs, tmp_path)
    assert page.rows[0][7:9] == ['tail', 'coverage']
    assert page.row('CKD', '2')[4:6] == ['0.2500', '0.5000']
    assert page.row('base', '2')[4:6] == ['', '']


def test_comparisons_are_made_once(monkeypatch, tmp_path):
    runs = slim(runs_of('VBPR', 0.1, students=(CKD, OGM)))
    calls = []

    def counted(*args: object, **kwargs: object) -> object:
        calls.append(args)
        return compare(*args, **kwargs)

    monkeypatch.setattr('pyg_ckd.experiments.tables.compare', counted)
    page_of(runs, tmp_path)
    assert len(calls) == 2
    against = comparisons(runs)
    assert len(calls) == 4
    page = page_of(runs, tmp_path, against=against)
    assert len(calls) == 4
    assert page.of('span')[0].startswith('+10.0')


# Tables ######################################################################


def test_table(path):
    _, page = read(path)
    assert page.rows[0] == [
        'backbone',
        'method',
        'seeds',
        'recall@10',
        'recall@20',
        'ndcg@10',
        'ndcg@20',
        'recall@20 against base',
    ]
    row = page.row('CKD')
    assert re.fullmatch(r'0\.\d{4} ± 0\.\d{4}', row[2])
    assert spaces(row[-1]) == '+25.0 % [+25.0, +25.0] gain'
    names = [row[-8 + 1] for row in page.rows[1:9] if len(row) in (7, 8)]
    assert names == ['base', 'image alone', 'text alone', 'CKD'] * 2


def test_best_of_each_column_is_bold(tmp_path):
    runs = runs_of('VBPR', 0.25) + runs_of('MGCN', 0.25)
    page = page_of(runs, tmp_path)
    bold = [x for x in page.of('strong') if x.startswith('0.')]
    assert len(bold) == 4
    ckd = students(runs)
    best = max(
        ('VBPR', 'MGCN'),
        key=lambda name: sum(
            r.tested['recall@20'] for r in ckd if r.run.backbone == name
        ),
    )
    start = next(i for i, row in enumerate(page.rows) if row[0] == best)
    assert page.rows[start + 3][2:6] == bold
    # What was cut short is never bold:
    for run in ckd:
        cut(run)
    bold = [x for x in page_of(runs, tmp_path).of('strong') if x[:2] == '0.']
    base = [row for row in page.rows if row[-7:-6] == ['base']]
    assert bold in [row[-5:-1] for row in base]


def test_p_values_are_on_the_cell_and_in_a_table(path, runs):
    _, page = read(path)
    titles = [
        a['title'] for tag, a in page.tags if tag == 'td' and 'title' in a
    ]
    assert titles[0] == (
        'p over users < 0.001; p over seeds '
        f'{compare(*vbpr(runs)).p_seeds:.3f}; p over users and seeds < 0.001; '
        'p adjusted < 0.001'
    )
    assert 'p-values of all comparisons' in page.of('summary')
    heads = [row for row in page.rows if 'p over users' in row]
    assert heads == [
        [
            'backbone',
            'method',
            'p over users',
            'p over seeds',
            'p over users and seeds',
            'p adjusted',
        ]
    ]
    assert page.row('VBPR', 'CKD')[0] == '< 0.001'


def vbpr(runs: list[Result]) -> tuple[list[Result], list[Result]]:
    own = [r for r in runs if r.run.backbone == 'VBPR']
    return students(own, BASE), students(own)


def test_cost_against_base(path):
    _, page = read(path)
    head = page.row('backbone', 'method', 'minutes')
    assert head == [
        'minutes / base',
        'with teachers',
        'with teachers / base',
        'epochs',
        'peak memory, MB',
    ]
    # CKD of one minute, and two teachers of half a minute each:
    assert page.row('CKD', '1.0') == ['1.00', '2.0', '2.00', '10', '1,001']
    assert page.row('image alone', '0.5') == ['', '', '', '5', '']


def test_cost_without_all_teachers(tmp_path):
    runs = slim(runs_of('VBPR', 0.1, students=(CKD, OGM)))
    lacking = [r for r in runs if r.run.method.modality != 'text']
    page = page_of(lacking, tmp_path)
    assert 'with teachers' not in page.row('backbone', 'method', 'minutes')
    assert page_of(runs, tmp_path).row('OGM-GE', '1.0')[:3] == ['1.00', '', '']


def test_knocked_out(path):
    _, page = read(path)
    above = next(row for row in page.rows if 'image' in row)
    assert above == ['', 'image', 'text', 'all']
    kinds = ['noise', 'mean', 'shuffled']
    assert page.rows[page.rows.index(above) + 1] == [
        'backbone',
        'method',
        *(kinds * 3),
    ]
    changes = ['−50.0 %', '−25.0 %', '0.0 %']
    start = page.rows.index(above) + 2
    assert [spaces(cell) for cell in page.rows[start]] == [
        *('VBPR', 'base'),
        *(changes + ['–'] * 3 + changes),
    ]
    assert [row[-10] for row in page.rows[start : start + 4]] == [
        'base',
        'CKD',
    ] * 2


def test_knocked_out_is_the_mean_change_over_seeds(tmp_path):
    runs = slim(runs_of('VBPR', 0.1))
    first, second = students(runs)
    for run, change in ((first, 0.9), (second, 0.7)):
        before = run.knocked_out['base']['recall@20']
        row = {'recall@20': before * change}
        run.knocked_out['rows'] = {'image': {'noise': row}}
    page = page_of([*students(runs, CKD), *students(runs, BASE)], tmp_path)
    row = next(row for row in page.rows if '−20.0 %' in map(spaces, row))
    lacking = ['', '', *['–'] * 3, '', '', '']
    assert [spaces(cell) for cell in row] == ['CKD', '−20.0 %', *lacking]


def test_many_modalities_are_in_several_tables(tmp_path):
    runs = slim(students(runs_of('VBPR', 0.1), BASE))
    for run in runs:
        row = run.knocked_out['rows']['image']
        names = [f'm{i}' for i in range(6)]
        run.knocked_out['rows'] = dict.fromkeys([*names, 'all'], row)
    page = page_of(runs, tmp_path)
    heads = [row[1:] for row in page.rows if row[0] == '']
    assert heads == [['m0', 'm1', 'm2', 'm3'], ['m4', 'm5', 'all']]


# Figures #####################################################################


def figures(page: Page, section: str) -> list[str]:
    """Return the texts that stand for the figures of a section."""
    tags = iter(page.tags)
    for tag, attrs in tags:
        if tag == 'section' and attrs['id'] == section:
            break
    found = []
    for tag, attrs in tags:
        if tag == 'section':
            break
        if attrs.get('role') == 'img':
            found.append(attrs['aria-label'])
    return found


def test_one_legend_for_all_figures(path):
    text, page = read(path)
    legend = [t for t in page.of('li') if t in ('trained alone', 'base', 'CKD')]
    assert legend == [
        'trained alone',
        'base',
        'CKD',
        'base',
        'CKD',
        'trained alone',
    ]  # of views, and of curves
    inside = page.of('text')
    assert 'trained alone' not in inside
    assert 'VBPR' not in inside  # is above the figure
    assert page.of('figcaption').count('VBPR') == 2
    assert 'border-color: var(--d55e00, #d55e00)' in text


def test_legends_that_differ_stay_in_the_figures(tmp_path):
    runs = runs_of('VBPR', 0.1) + runs_of('MGCN', 0.1)
    for run in students(runs):
        if run.run.backbone == 'MGCN':  # text comes first: another colour
            for entry in run.history:
                entry.pop('weight_image')
                entry |= {'weight_text': 1.0, 'weight_video': 1.0}
    page = page_of(runs, tmp_path)
    assert {'image', 'text', 'video'} <= set(page.of('text'))


@pytest.mark.parametrize('section', ['gains', 'weights', 'curves'])
def test_no_chart_of_one_thing(section, tmp_path):
    many = runs_of('VBPR', 0.1, students=(CKD, OGM))
    assert figures(page_of(many, tmp_path), section)
    if section == 'gains':
        many = [r for r in many if r.run.method != OGM]
    for run in many:
        run.history = run.history[:1]
    assert figures(page_of(many, tmp_path), section) == []


def test_no_weights_of_one_modality(tmp_path):
    runs = runs_of('VBPR', 0.1)
    for entry in (e for r in students(runs) for e in r.history):
        for name in ('weight_text', 'specific_text'):
            entry.pop(name)
    assert 'weights' not in page_of(runs, tmp_path).sections


def test_no_chart_of_one_group(data, tmp_path):
    alike = data.clone()
    user = torch.arange(NUM_USERS)
    alike['user', 'rates', 'item'].edge_index = torch.stack([user, user % 7])
    page = page_of(runs_of('VBPR', 0.1), tmp_path, data=alike)
    assert 'users' not in page.sections


def test_views_that_are_all_the_same_say_nothing(tmp_path):
    runs = students(runs_of('BM3', 0), BASE)
    for run in runs:
        run.test = dict.fromkeys(run.test, run.test['full'])
    page = page_of(runs, tmp_path)
    assert 'views' not in page.sections
    texts = page.of_section['gains']
    assert texts[texts.index('Nothing to compare:') + 1] == 'BM3'


def test_first_student_stands_in_for_ckd(data, tmp_path):
    runs = runs_of('VBPR', 0.1, students=(OGM, METHODS['agm']))
    page = page_of(runs, tmp_path, data=data)
    assert 'VBPR, OGM-GE' in page.of('figcaption')
    assert 'VBPR, AGM' not in page.of('figcaption')
    assert {'trained alone', 'base', 'OGM-GE'} <= set(page.of('li'))
    assert 'weights' not in page.sections  # which CKD alone has


# What is wrong ###############################################################


def test_failed_runs_are_listed_with_reasons(tmp_path):
    runs = slim(runs_of('VBPR', 0.1))
    bad = [
        Result(Run('shop', 'VBPR', OGM, s), error='ValueError: no more memory')
        for s in (0, 1)
    ]
    other = Result(Run('shop', 'GRCN', CKD, 0), error=f'long {"x" * 999}')
    page = page_of([*runs, *bad, other], tmp_path)
    texts = page.of_section['failed']
    names = 'VBPR OGM-GE, seed 0; VBPR OGM-GE, seed 1:'
    assert texts[texts.index(names) + 1] == 'ValueError: no more memory'
    text = texts[texts.index('GRCN CKD, seed 0:') + 1]
    assert text.startswith('long xxx')
    assert len(text) < 500
    assert 'OGM-GE' not in page.of('td')
    assert 'GRCN' not in page.of('th')


def test_a_page_of_failures_alone(tmp_path):
    bad = Result(Run('shop', 'VBPR', CKD, 0), error='ValueError: no')
    page = page_of([bad], tmp_path, problems=['line 3 was cut off'])
    assert page.sections == ['failed']
    assert 'line 3 was cut off' in page.of('li')


def test_problems_and_versions_are_noted(tmp_path):
    runs = slim(runs_of('VBPR', 0.1))
    old = [replace(r, run=replace(r.run, version='0.0.1')) for r in runs]
    page = page_of([*old, *runs], tmp_path, problems=["'x', line 3, is cut"])
    asides = [a for tag, a in page.tags if tag == 'aside']
    assert asides == [{'class': 'notes', 'aria-label': 'Notes'}]
    first, second = page.of('li')[:2]
    assert first == "'x', line 3, is cut"
    assert second.startswith('8 older runs are left out')
    assert page.row('CKD')[0] == '2'  # seeds
    assert not any(tag == 'aside' for tag, _ in page_of(runs, tmp_path).tags)


# Settings ####################################################################


def test_odd_results_do_not_stop_the_page(data, tmp_path):
    runs = runs_of('VBPR', 0.1) + runs_of('MG\udcffCN', 0.1)
    for number, run in enumerate(
        r for r in runs if r.run.method.kind != 'teacher'
    ):
        run.knocked_out = [{'base': None}, {'base': run.tested}][number % 2]
        run.history[0]['epoch'] = [math.nan, math.inf][number % 2]
        run.environment['peak_memory_mb'] = 'x'
        run.hits = {'hit@20': run.hits['hit@20']}
    runs[2].users.pop('user')
    runs[3].test['full']['recall@20'] = math.inf
    runs[3].run = replace(runs[3].run, settings={'fit': None})
    page = page_of(runs, tmp_path, data=data)
    assert any('What cannot be read is left out' in x for x in page.of('li'))
    assert any(row[0] == 'MG\\udcffCN' for row in page.rows)


def test_plots_have_the_base_that_a_student_is_compared_with():
    runs = runs_of('VBPR', 0.1, seeds=2)
    stale = [
        replace(r, run=replace(r.run, settings={'model': {'dim': 1}}, seed=s))
        for s, r in zip(range(3), [runs[2]] * 3, strict=True)
    ]
    material = Material.of([*runs, *stale])
    bases = [r for r in material.plotted['VBPR'] if r.run.method == BASE]
    assert bases == [r for r in runs if r.run.method == BASE]
    assert len(material.rows['shop', 'VBPR', 'base']) == 3


def test_settings_and_protocol(path):
    text, page = read(path)
    assert 'A <b>note</b>.' in page.of('span')
    assert 'Protocol: all items.' in page.of('span')
    assert '10,000 bootstrap resamples' in text
    summaries = [x for x in page.of('summary') if x.startswith('Settings')]
    assert summaries == ['Settings of VBPR', 'Settings of FREEDOM']


def test_settings_that_differ_come_first(tmp_path):
    runs = slim(runs_of('VBPR', 0.1, students=(CKD, OGM)))
    page = page_of(runs, tmp_path)
    names, lines = page.of('dt'), page.of('code')
    assert names == ['base', 'CKD', 'OGM-GE', 'all methods']
    assert lines == [
        'balance = none',
        'balance.name = CKD',
        'balance.strength = 0.5',
        'balance.name = OGMGE',
        'balance.strength = 0.5',
        'model.dim = 64',
        'fit.max_epochs = 10',
    ]


def test_settings_of_one_method(tmp_path):
    page = page_of(slim(students(runs_of('VBPR', 0.1), BASE)), tmp_path)
    assert page.of('dt') == ['base']
    assert page.of('code') == [
        'model.dim = 64',
        'fit.max_epochs = 10',
        'balance = none',
    ]


def test_gain_of_one_seed_says_over_users_only(tmp_path):
    page = spaces(read(report(runs_of('VBPR', 0.5, 1), tmp_path / 'one'))[0])
    assert 'gain over users only' in page
    page = spaces(read(report(runs_of('VBPR', 0.5, 3), tmp_path / 'three'))[0])
    assert 'over users only' not in page
