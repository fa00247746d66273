import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.analysis import Comparison, Result, compare
from pyg_ckd.analysis._report import report

NUM_USERS = 200
SECTIONS = [
    'gains',
    'table',
    'views',
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
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def all(self, name: str) -> list[str]:
        """Return the values of an attribute."""
        return [attrs[name] for _, attrs in self.tags if name in attrs]

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


def runs_of(backbone: str, gain: float, seeds: int = 2) -> list[Result]:
    """All methods of a backbone, with metrics of users and histories."""
    user = torch.arange(NUM_USERS)
    runs = []
    for seed in range(seeds):
        recall = torch.rand(NUM_USERS)
        for m in ('image', 'text'):
            test = {f'only({m})': metrics(recall * 0.9)}
            runs.append(
                Result(
                    'shop',
                    backbone,
                    f'teacher({m})',
                    seed,
                    test=test,
                    val={'recall@20': 0.4},
                    epochs=5,
                    seconds=30,
                )
            )
        for method, scale in (('base', 1.0), ('ckd', 1 + gain)):
            own = recall * scale
            history = [
                {
                    'epoch': epoch,
                    'val_recall@20': 0.1 * epoch,
                    'val_recall@20/only(image)': 0.05 * epoch,
                    'val_recall@20/only(text)': 0.07 * epoch,
                }
                for epoch in (1, 2)
            ]
            for entry in history if method == 'ckd' else []:
                entry |= {'weight_image': 1.2, 'weight_text': 0.8}
                entry |= {'specific_image': 0.6, 'specific_text': 0.3}
            runs.append(
                Result(
                    'shop',
                    backbone,
                    method,
                    seed,
                    settings={'model': {'dim': 64}},
                    test={
                        'full': metrics(own),
                        'only(image)': metrics(own * 0.3),
                        'only(text)': metrics(own * 0.8),
                        'without(text)': metrics(own * 0.3),
                    },
                    history=history,
                    epochs=10,
                    seconds=60,
                    users={'user': user, 'recall@20': own},
                    hits={'item': user % 7, 'hit@20': (own > 0.5).float()},
                )
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


def read(path) -> tuple[str, Page]:
    text = path.read_text('utf-8')
    return text, Page(text)


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
    headings = [text for tag, text in page.texts if tag == 'h2']
    assert headings == [text for tag, text in page.texts if tag == 'a']
    assert ('h1', 'My shop') in page.texts
    # One figure of gains, and of each backbone one in five sections and two
    # in one, each with a text that stands for it:
    figures = [attrs for tag, attrs in page.tags if tag == 'figure']
    assert len(figures) == 1 + 2 * 6
    assert all(attrs['role'] == 'img' for attrs in figures)
    labels = [attrs['aria-label'] for attrs in figures]
    assert len(set(labels)) == len(labels)
    assert 'VBPR: weights of modalities' in labels[3]
    assert 'image 1.20, text 0.80' in labels[3]


def test_headline_has_intervals(path):
    _, page = read(path)
    texts = [text for tag, text in page.texts if tag == 'span']
    gain, loss = texts[:2]
    # Each user gains a quarter, so that every resample does:
    assert gain == '+25.0 % [+25.0, +25.0], significant (2 seeds, 200 users)'
    assert loss == (
        'a loss of 12.5 % [12.5, 12.5], significant (2 seeds, 200 users)'
    )
    kinds = [attrs['class'] for _, attrs in page.tags if 'class' in attrs]
    assert [k for k in kinds if k in ('gain', 'loss')] == ['gain', 'loss']


def test_table(path):
    _, page = read(path)
    cells = [text for tag, text in page.texts if tag in ('th', 'td')]
    columns = cells[: cells.index('VBPR')]
    assert columns == [
        'backbone',
        'method',
        'seeds',
        'recall@10',
        'recall@20',
        'ndcg@10',
        'ndcg@20',
        'recall@20 against base',
        'p (users)',
        'p (seeds)',
        'minutes',
    ]
    start = cells.index('ckd')
    row = cells[start : start + 10]
    assert re.fullmatch(r'0\.\d{4} ± 0\.\d{4}', row[3])
    assert row[6:8] == ['+25.0 % [+25.0, +25.0]', '< 0.001']
    assert row[9] == '1.0'


def test_cost_against_base(path):
    _, page = read(path)
    cells = [text for tag, text in page.texts if tag in ('th', 'td')]
    start = cells.index('ckd and its teachers')
    # Two teachers of half a minute and 5 epochs, CKD of one and 10:
    assert cells[start + 1 : start + 5] == ['2.0', '2.00', '20', '2.00']


def test_settings_and_protocol(path):
    text, page = read(path)
    assert ('code', '{"model": {"dim": 64}}') in page.texts
    assert ('span', 'A <b>note</b>.') in page.texts
    assert ('span', 'Protocol: all items.') in page.texts
    assert '10,000 bootstrap resamples' in text


def test_same_results_give_the_same_bytes(runs, data, path, tmp_path):
    again = report(runs, tmp_path / 'again.html', 'My shop', ABOUT, data)
    assert again.read_bytes() == path.read_bytes()


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
        ('base only', ['weights', 'curves', 'users', 'items']),
        ('full view only', ['views']),
        ('nothing', SECTIONS[2:8]),
    ],
)
def test_sections_without_what_they_need(name, missing, data, tmp_path):
    runs = runs_of('VBPR', 0.1)
    if name == 'users':
        changed(runs, 'users', {})
    elif name == 'hits':
        changed(runs, 'hits', {})
    elif name == 'history':
        changed(runs, 'history', [])
    elif name == 'seconds':
        changed(runs, 'seconds', 0)
    elif name == 'base only':
        runs = [run for run in runs if run.method == 'base']
    elif name == 'full view only':
        runs = [run for run in runs if 'full' in run.test]
        for run in runs:
            run.test = {'full': run.test['full']}
    else:
        runs = [Result('shop', 'VBPR', 'base', 0)]
    _, page = read(report(runs, tmp_path / 'report.html', data=data))
    assert page.sections == [s for s in SECTIONS if s not in missing]


def test_users_need_data(tmp_path):
    text, page = read(report(runs_of('VBPR', 0.1), tmp_path / 'report.html'))
    assert not {'users', 'items'} & set(page.sections)
    assert '<title>Results: shop</title>' in text


def test_views_that_are_all_the_same_say_nothing(tmp_path):
    runs = [run for run in runs_of('BM3', 0) if run.method == 'base']
    for run in runs:
        run.test = dict.fromkeys(run.test, run.test['full'])
    _, page = read(report(runs, tmp_path / 'report.html'))
    assert 'views' not in page.sections
    assert ('span', 'BM3') in page.texts  # among those without CKD


def test_no_gain_without_an_interval(tmp_path):
    runs = changed(runs_of('VBPR', 0.1, seeds=1), 'users', {})
    text, page = read(report(runs, tmp_path / 'report.html'))
    assert ('span', 'not tested') in page.texts
    assert ('td', 'not tested') in page.texts
    assert not re.search(r'[+−-]\d+(\.\d+)? %', text)
    assert 'p (users)' not in [text for _, text in page.texts]


def test_interval_over_zero_is_not_significant(tmp_path):
    runs = runs_of('VBPR', 0.1)
    for run in runs:
        if run.method == 'ckd':
            run.users['recall@20'] = run.users['recall@20'].flip(0)
    _, page = read(report(runs, tmp_path / 'report.html'))
    base = [run for run in runs if run.method == 'base']
    ckd = [run for run in runs if run.method == 'ckd']
    gain: Comparison = compare(base, ckd)
    assert gain.low < 0 < gain.high
    text = next(text for tag, text in page.texts if tag == 'span')
    assert text == (
        f'{gain}, not significant (2 seeds, 200 users)'.replace('-', '−')
    )


def test_variants_are_compared_too(tmp_path):
    runs = runs_of('VBPR', 0.1)
    for run in runs[:]:
        if run.method == 'ckd':
            users = {**run.users, 'recall@20': run.users['recall@20'] * 2}
            test = {'full': metrics(users['recall@20'])}
            variant = replace(run, method='ckd[gate]', users=users, test=test)
            runs.append(variant)
    _, page = read(report(runs, tmp_path / 'report.html'))
    texts = [text for _, text in page.texts]
    gain = texts[texts.index('VBPR ckd[gate]:') + 1]
    assert gain.startswith('+120.0 % [+120.0, +120.0], significant')
    assert '+120.0 % [+120.0, +120.0]' in texts  # in the table


def test_base_without_a_hit_is_not_tested(tmp_path):
    runs = runs_of('VBPR', 0.1)
    for run in runs:
        run.test = {view: metrics(torch.zeros(1)) for view in run.test}
        run.users = {}
    _, page = read(report(runs, tmp_path / 'report.html'))
    assert ('span', 'not tested') in page.texts


def test_names_are_text(data, tmp_path):
    name = '<script>alert(1)</script> & "x" $\\frac$'
    runs = changed(runs_of(name, 0.1), 'dataset', name)
    for run in runs:
        run.settings = {'model': {'x': '<img src=x>'}}
    path = report(runs, tmp_path / 'report.html', name, [name], data)
    text, page = read(path)
    assert '<script' not in text
    assert '<img' not in text
    assert not {'script', 'img'} & {tag for tag, _ in page.tags}
    for tag in ('title', 'h1', 'strong', 'th', 'text', 'dt'):
        assert any(t == tag and '<script>' in x for t, x in page.texts), tag
    assert page.sections == SECTIONS


def test_one_data_set(tmp_path):
    runs = [Result(name, 'VBPR', 'base', 0) for name in ('shop', 'store')]
    for results, got in ((runs, "'shop', 'store'"), ([], 'none')):
        with pytest.raises(ValueError, match=f'one data set .*{got}'):
            report(results, tmp_path / 'report.html')
    assert list(tmp_path.iterdir()) == []
