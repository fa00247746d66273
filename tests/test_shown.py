"""What notebooks show: the same as the text, whatever names there are."""

import copy
import json
import math
import pickle
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from rich.console import Console
from torch_geometric.data import HeteroData

from pyg_ckd import evaluate_views
from pyg_ckd._shown import Cell, Note, Table, number
from pyg_ckd._shown.html import to_html
from pyg_ckd._shown.text import to_text
from pyg_ckd.datasets import FakeMultimodal, describe, statistics
from pyg_ckd.experiments import (
    METHODS,
    Experiment,
    Method,
    Result,
    Run,
    Settings,
    Store,
    compare,
    summarize,
)
from pyg_ckd.experiments.results import Results
from pyg_ckd.experiments.statistics import Comparison
from pyg_ckd.experiments.summary import Summary
from pyg_ckd.experiments.tuning import Tuned
from pyg_ckd.experiments.tuning.best import Found
from pyg_ckd.inspect import Diagnosis, Explanation, KnockOut
from pyg_ckd.nn import VBPR
from pyg_ckd.ranking._view_metrics import ViewMetrics
from pyg_ckd.views import distinct_views, view_name

HOSTILE = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onclick='x() &lt;b&gt; &amp; {0} {} %s [red]</td></table>",
]
NAMES = {
    'one': ['text'],
    'three': ['image', 'text', 'sound'],
    'hostile': HOSTILE,
}


TAGS = {
    *('div', 'style', 'p', 'table', 'caption', 'thead', 'tbody', 'tr'),
    *('th', 'td'),
}
ATTRIBUTES = {'class', 'style', 'scope', 'rowspan'}


class Page(HTMLParser):
    """Parses HTML and refuses what is not closed in order, or is active."""

    def __init__(self, html):
        super().__init__()
        self.open = []
        self.words = []
        self.cells = []  # of each table: of each row: (text, attributes)
        self.notes = []
        self.style = ''
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert tag in TAGS, tag
        assert {name for name, _ in attributes} <= ATTRIBUTES
        self.open.append(tag)
        if tag == 'table':
            self.cells.append([])
        elif tag == 'tr':
            self.cells[-1].append([])
        elif tag in ('td', 'th'):
            self.cells[-1][-1].append(['', dict(attributes)])
        elif tag == 'p':
            self.notes.append('')

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        raise AssertionError(tag)

    def handle_data(self, text):
        if self.open[-1] == 'style':
            self.style += text
            return
        self.words += text.split()
        if self.open[-1] in ('td', 'th'):
            self.cells[-1][-1][-1][0] += text
        elif self.open[-1] == 'p':
            self.notes[-1] += text
        else:
            assert self.open[-1] == 'caption', self.open

    def grid(self, table):
        """The texts of a table, each where it is shown."""
        grid = {}
        for row, cells in enumerate(self.cells[table]):
            column = 0
            for text, attributes in cells:
                while (row, column) in grid:
                    column += 1
                for below in range(int(attributes.get('rowspan', 1))):
                    assert (row + below, column) not in grid
                    grid[row + below, column] = '' if below else text
        rows, columns = (1 + max(place) for place in zip(*grid, strict=True))
        assert len(grid) == rows * columns
        return [[grid[i, j] for j in range(columns)] for i in range(rows)]


@pytest.mark.parametrize(
    'html',
    ['<p>a', '<p><b>a</b></p>', '<div><p>a</div></p>', '<p onclick="a">b</p>'],
)
def test_the_parser_refuses(html):
    with pytest.raises(AssertionError):
        Page(html)


def page(shown):
    """The page, after checks that hold for all."""
    html = shown._repr_html_()
    found = Page(html)
    for word in ('url(', '@import', 'expression', 'http'):
        assert word not in found.style
    for table in range(len(found.cells)):
        found.grid(table)
    return found


# Objects #####################################################################


def diagnosis(names, history=True, value=0.25):
    spread = ['mean', '5%', '25%', '50%', '75%', '95%']
    table = {
        m: {key: value + 0.1 * i + j for j, key in enumerate(spread)}
        for i, m in enumerate(names)
    }
    curve = {m: [0.1, 0.3, 0.2, value] for m in names} if history else {}
    return Diagnosis(
        metric='val recall@20',
        recall={'full': 0.2, **{f'only({m})': value for m in names}},
        teacher={f'only({m})': 0.5 for m in names},
        num_triples=100,
        progress=table,
        weight=table,
        clamped={m: {'wrong sign': value, 'too large': 0.0} for m in names},
        epochs=[1, 2, 3, 4] if history else [],
        weights=curve,
        gaps={m: [4.0, 3.0, 2.0, 1.0] for m in curve},
        gradient_share=value,
        signs={m: f'The teacher of {m} is weak.' for m in names[1:]},
    )


def explanation(names, value=-0.5):
    views = [view_name(keep, names) for keep in distinct_views(names)]
    return Explanation(
        user=7,
        item=4,
        name=repr(names[0]),
        score=dict.fromkeys(views, value) | {'full': 1234.5},
        rank={view: 3 + i for i, view in enumerate(views)},
        effect=dict.fromkeys(names, value),
        num_ranked=300,
        known=True,
    )


def knocked_out(names, base=0.2):
    kinds = ('noise', 'mean', 'shuffled')
    return KnockOut(
        split='val',
        k=20,
        seed=0,
        base={'recall@20': base, 'ndcg@20': base},
        rows={
            m: {
                kind: {'recall@20': 0.1 * i, 'ndcg@20': 0.1}
                for i, kind in enumerate(kinds)
            }
            for m in [*names, 'all']
        },
        depends=dict.fromkeys([*names, 'all'], True),
    )


def result(names, method=METHODS['base'], seed=0, **kwargs):
    views = ['full', *(f'only({m})' for m in names)]
    metrics = {'recall@10': 0.1 + seed, 'recall@20': 0.2 + seed, 'mrr@20': 0.3}
    kwargs = {'test': dict.fromkeys(views, metrics), 'seconds': 90} | kwargs
    run = Run(names[-1], names[0], method, seed)
    return Result(run, epochs=4, **kwargs)


def results(names):
    odd = Method(name=names[-1])
    return Results(
        [
            *(result(names, seed=seed) for seed in (0, 1)),
            result(names, METHODS['ckd'], test={}),
            result(names, odd, test={}, error=f'ValueError: {names[0]}'),
        ]
    )


def tuned(names):
    base = Found(Method(name=names[0]), 0.25, '', {'a.b': 0.5}, 20, 0.2, 0.24)
    off = Found(
        METHODS['ckd'], 0.25, '', {}, 10, None, None, 0.1, True, names[:1]
    )
    return Tuned(Settings({}), [base, off], None)


def graph_statistics(names):
    data = FakeMultimodal(num_users=20, num_items=10)[0]
    for name in ('image', 'text'):
        del data['item'][f'x_{name}']
    for i, name in enumerate(names):
        data['item'][f'x_{name}'] = torch.rand(10, 5 + i)
    return statistics(data)


MAKE = {
    'diagnosis': diagnosis,
    'diagnosis without a history': lambda names: diagnosis(names, False),
    'diagnosis of no number': lambda names: diagnosis(names, False, math.nan),
    'explanation': explanation,
    'explanation of nothing': lambda names: explanation(names, 0.0),
    'knock-out': knocked_out,
    'knock-out of nothing': lambda names: knocked_out(names, 0.0),
    'result': result,
    'result that failed': lambda names: result(names, test={}, error=names[0]),
    'result of validation': lambda names: result(
        names, test={}, val={'recall@20': math.nan}
    ),
    'results': results,
    'summary': lambda names: summarize(results(names)),
    'tuned': tuned,
    'statistics': graph_statistics,
    'views': lambda names: ViewMetrics(result(names).test),
    'views of no number': lambda names: ViewMetrics(
        {names[0]: {'recall@20': math.nan}, 'other': {'ndcg@20': math.inf}}
    ),
}


@pytest.mark.parametrize('names', NAMES.values(), ids=NAMES)
@pytest.mark.parametrize('make', MAKE.values(), ids=MAKE)
def test_html_says_what_the_text_says(make, names):
    """The same words and numbers, each as often."""
    shown = make(names)
    text = str(shown)
    # Lines of a terminal may break within a long name:
    whole, joined = page(shown).words, ''.join(text.split())
    assert Counter(''.join(whole)) == Counter(joined)
    if names is not HOSTILE:
        assert Counter(whole) == Counter(text.split())


@pytest.mark.parametrize('make', MAKE.values(), ids=MAKE)
def test_names_are_escaped(make):
    shown = make(HOSTILE)
    html = shown._repr_html_()
    assert '<script' not in html
    assert '<img' not in html
    assert html.count('<table') == html.count('</table>')
    text = ' '.join(page(shown).words)
    names = [n for n in HOSTILE if n in text]
    assert names, 'no name is shown'


@pytest.mark.parametrize(
    'shown', [Results(), Summary(), summarize([]), ViewMetrics()]
)
def test_nothing(shown):
    assert page(shown).words == str(shown).split() != []


# What is in the cells ########################################################


def bars(found, table, column):
    """From where to where the bars of a column go, in percent."""
    spans = []
    for row in found.cells[table][1:]:
        style = row[column][1].get('style', '')
        parts = re.findall(r'(#\w+) ([\d.]+)%,#\w+ ([\d.]+)%', style)
        spans += [(c, float(a), float(b)) for c, a, b in parts] or [None]
    return spans


def test_diagnosis():
    found = page(replace(diagnosis(['text', 'image']), signs={}))
    assert found.grid(0) == [
        ['view', 'val recall@20', 'teacher', 'gap'],
        ['full', '0.2000', '', ''],
        ['only(text)', '0.2500', '0.5000', '+50.0%'],
        ['only(image)', '0.2500', '0.5000', '+50.0%'],
    ]
    assert [bar[1:] for bar in bars(found, 0, 1)] == [(0, 40), (0, 50), (0, 50)]
    assert bars(found, 0, 3)[0] is None
    assert bars(found, 0, 3)[1][1:] == (50, 75)
    assert found.notes[-1] == 'No sign of failure.'
    assert [len(cells) for cells in found.cells] == [4, 3, 3, 3, 4, 2]


def test_signs_are_warnings():
    html = diagnosis(['text', 'image'])._repr_html_()
    sign = 'The teacher of image is weak.'
    assert f'<p class="pyg-ckd-warning">{sign}</p>' in html
    assert page(diagnosis(['text', 'image'])).notes[-1] == sign


def test_bars_tell_signs_apart():
    found = page(explanation(['image', 'text', 'sound'], value=-617.25))
    above, *below = bars(found, 0, 1)
    assert above[1:] == (50, 100)
    assert {bar[1:] for bar in below} == {(25, 50)}
    assert above[0] not in {bar[0] for bar in below}
    found = page(explanation(['image', 'text', 'sound'], value=0.0))
    assert {bar[1:] for bar in bars(found, 0, 1)[1:]} == {(50, 50)}


def test_number():
    assert number(2, '.1f', 1) == Cell('2.0', 1.0)
    assert number(-2, '.1f', 1, signed=True) == Cell('-2.0', -1.0, True)
    assert number(math.nan, '.1f', 1).bar is None
    assert number(math.inf, '.1f', 1) == Cell('inf', 1.0)
    assert number(1, '.1f', 0).bar is number(1, '.1f').bar is None


def test_names_of_groups_are_shown_once():
    assert page(knocked_out(['text'])).grid(0) == [
        [
            *('modality', 'replaced by', 'recall@20', 'change'),
            *('ndcg@20', 'change'),
        ],
        ['untouched', '', '0.2000', '', '0.2000', ''],
        ['text', 'noise', '0.0000', '-100.0%', '0.1000', '-50.0%'],
        ['', 'mean', '0.1000', '-50.0%', '0.1000', '-50.0%'],
        ['', 'shuffled', '0.2000', '+0.0%', '0.1000', '-50.0%'],
        ['all', 'noise', '0.0000', '-100.0%', '0.1000', '-50.0%'],
        ['', 'mean', '0.1000', '-50.0%', '0.1000', '-50.0%'],
        ['', 'shuffled', '0.2000', '+0.0%', '0.1000', '-50.0%'],
    ]


def test_groups_within_groups():
    cells = [[*map(Cell, row)] for row in ('aax', 'aay', 'abx', 'bbx', 'bbx')]
    table = Table(['one', 'two', 'three'], cells, merged=2)
    assert Page(to_html([table])).grid(0)[1:] == [
        ['a', 'a', 'x'],
        ['', '', 'y'],
        ['', 'b', 'x'],
        ['b', 'b', 'x'],
        ['', '', 'x'],
    ]
    assert to_text([table]).splitlines() == [
        'one  two  three',
        'a      a      x',
        '              y',
        '       b      x',
        'b      b      x',
        '              x',
    ]


def test_text():
    table = Table([], [[Cell('a'), Cell('1')]], 'Title', 'How to read it.')
    blocks = [table, table, Note('One.'), Note('Two [red]:smile:')]
    assert to_text(blocks).splitlines() == [
        *['Title', '', 'a  1', 'How to read it.', ''] * 2,
        'One.',
        'Two [red]:smile:',
    ]
    html = to_html(blocks)
    assert '<thead>' not in html
    assert html.count('<caption>Title</caption>') == 2


def test_results():
    names = ['VBPR', 'shop']
    found = results(names)
    found[1].history = [{'epoch': 0.5, 'val_recall@20': 0.1}]
    found[1].run = replace(
        found[1].run, settings={'fit': {'max_epochs': 4, 'patience': 3}}
    )
    assert page(found).grid(0)[:3] == [
        [
            *('data set', 'backbone', 'method', 'seed', 'recall@10'),
            *('recall@20', 'epochs', 'minutes', 'remark'),
        ],
        [*('shop', 'VBPR', 'base', '0', '0.1000', '0.2000', '4', '1.5'), ''],
        [*('', '', '', '1', '1.1000', '1.2000', '4', '1.5'), 'cut short'],
    ]
    assert page(found).grid(0)[-1][-1] == 'failed: ValueError: VBPR'
    assert 'remark' not in page(Results(found[:1])).words
    val = result(names, test={}, val={'recall@20': 0.5})
    assert page(Results([val])).grid(0)[0][4] == 'val recall@20'


def test_result():
    text = str(result(['image', 'text']))
    assert text.splitlines() == [
        'image base, seed 0, on text: test',
        '',
        'view         recall@10  recall@20  mrr@20',
        'full            0.1000     0.2000  0.3000',
        'only(image)     0.1000     0.2000  0.3000',
        'only(text)      0.1000     0.2000  0.3000',
        '',
        '4 epochs, the best is 0; 1.5 minutes.',
    ]
    assert repr(result(['text'])).startswith('Result(run=Run(')


def test_comparison():
    found = page(Comparison(0.115, 0.081, 0.15, 0.0001, None, 2, 1900))
    assert dict(zip(*found.grid(0), strict=True)) == {
        'change': '+11.5 %',
        '95 % interval': '[+8.1, +15.0]',
        'p over users': '< 0.001',
        'p adjusted': '< 0.001',
        'seeds': '2',
        'users': '1,900',
    }
    assert found.notes == ['+11.5 % [+8.1, +15.0]']
    reason = HOSTILE[0]
    assert page(Comparison.untested(reason)).notes == [f'not tested: {reason}']
    made = compare([result(['text'])], [result(['text'], METHODS['ckd'])])
    assert page(made).notes == [made.verdict]


# What they are beside ########################################################


def test_they_are_still_lists_and_dicts(tmp_path):
    data = FakeMultimodal(num_users=20, num_items=30)[0]
    views = evaluate_views(VBPR.from_data(data, dim=4), data, ks=(20,))
    assert isinstance(views, dict)
    assert views == dict(views)
    assert views['full']['recall@20'] == dict(views)['full']['recall@20']
    assert list(pd.DataFrame(views)) == list(views)
    rows = summarize([result(['text'])])
    assert isinstance(rows, list)
    assert pd.DataFrame(rows)['recall@20'].tolist() == ['0.2000']
    assert isinstance(statistics(data), dict)
    for each in (views, rows, statistics(data)):
        page(each)
        assert repr(each) == repr(json.loads(json.dumps(each)))
        for other in (pickle.loads(pickle.dumps(each)), copy.deepcopy(each)):
            assert other == each
            assert type(other) is type(each)


def test_an_experiment_returns_a_table(tmp_path):
    experiment = Experiment(
        'shop',
        lambda pre_transform: FakeMultimodal(
            num_users=20, num_items=30, pre_transform=pre_transform
        )[0],
        Settings({}),
        Store(tmp_path),
        max_epochs=1,
    )
    runs = experiment.plan(['BPRMF'], [METHODS['base']], seeds=[0])
    found = experiment.run(runs)
    assert isinstance(found, list)
    recall = f'{found[0].tested["recall@20"]:.4f}'
    for table in (found, experiment.store.results(), found[0]):
        assert recall in page(table).words


# Notebooks ###################################################################


@pytest.mark.parametrize('title', ['', *HOSTILE])
def test_describe_in_a_notebook(monkeypatch, capsys, title):
    shown = []
    module = SimpleNamespace(display=lambda *args, **_: shown.extend(args))
    monkeypatch.setitem(sys.modules, 'IPython.display', module)
    console = partial(Console, force_jupyter=True)
    monkeypatch.setattr('pyg_ckd.datasets._describe.Console', console)
    data = HeteroData()
    data['user'].num_nodes = data['item'].num_nodes = 1000
    data['user', 'rates', 'item'].edge_index = torch.tensor([[5], [7]])
    data['item'].x_text = torch.rand(1000, 3)
    assert describe(data, title) is None
    assert capsys.readouterr().out == ''
    [each] = shown
    found = Page(each['text/html'])
    assert found.words == each['text/plain'].split()
    assert found.words == [*title.split(), *str(statistics(data)).split()]
    assert ['users', '1,000'] in found.grid(0)


def test_nothing_is_loaded_before_it_is_shown():
    code = (
        'import sys, pyg_ckd._shown as shown; '
        "assert not {'rich', 'markupsafe', 'torch'} & set(sys.modules); "
        "note = {'_shown': lambda self: [shown.Note('here')]}; "
        "assert 'here' in type('One', (shown.Shown,), note)()._repr_html_()"
    )
    subprocess.run([sys.executable, '-c', code], check=True)
