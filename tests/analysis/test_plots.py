import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.analysis import Comparison, Result, plot_views, plot_weights
from pyg_ckd.analysis.plots import (
    COLORS,
    degree_changes,
    plot_curves,
    plot_degrees,
    plot_gains,
    plot_levels,
    to_svg,
)


@pytest.fixture
def results() -> list[Result]:
    """Two backbones, two seeds, figures that are all different."""
    runs = []
    for b, backbone in enumerate(['VBPR', 'FREEDOM']):
        for seed in (0, 1):
            value = 0.1 * (b + 1) + 0.02 * seed
            for m in ('image', 'text'):
                test = {f'only({m})': {'recall@20': value}}
                runs.append(
                    Result('shop', backbone, f'teacher({m})', seed, test=test)
                )
            for k, method in enumerate(['base', 'ckd']):
                views = ['full', 'only(image)', 'only(text)']
                test = {
                    v: {'recall@20': value + 0.003 * (k + 1) + 0.001 * i}
                    for i, v in enumerate(views)
                }
                history = [
                    {'epoch': 5, 'weight_image': 1.2, 'weight_text': 0.8},
                    {'epoch': 10, 'weight_image': 1.1, 'weight_text': 0.9},
                ]
                runs.append(
                    Result(
                        'shop',
                        backbone,
                        method,
                        seed,
                        test=test,
                        history=history if method == 'ckd' else [],
                    )
                )
    return runs


def test_views(results):
    figure = plot_views(results)
    assert [panel.get_title() for panel in figure.axes] == ['VBPR', 'FREEDOM']
    panel = figure.axes[0]
    labels = [label.get_text() for label in panel.get_xticklabels()]
    assert labels == ['full', 'only(image)', 'only(text)']
    # Three bars a modality, two for the full view, each a mean of two seeds:
    heights = sorted(round(bar.get_height(), 4) for bar in panel.patches)
    assert heights == sorted(
        [0.11, 0.11, 0.113, 0.114, 0.115, 0.116, 0.117, 0.118]
    )
    dots = [y for line in panel.lines for y in line.get_ydata()]
    assert len(dots) == 16


def test_weights(results):
    figure = plot_weights(results)
    panel = figure.axes[1]
    assert panel.get_title() == 'FREEDOM'
    lines = [list(line.get_ydata()) for line in panel.lines]
    assert lines.count([1.2, 1.1]) == 2  # the image, with both seeds
    assert lines.count([0.8, 0.9]) == 2
    assert list(panel.lines[0].get_xdata()) == [5, 10]


def test_one_backbone_without_teachers(results):
    runs = [run for run in results if run.backbone == 'VBPR']
    figure = plot_views([run for run in runs if run.method != 'ckd'])
    assert len(figure.axes) == 1


def test_rows_of_three_panels():
    runs = [
        Result('shop', f'model{i}', 'base', 0, test={'full': {'recall@20': i}})
        for i in range(7)
    ]
    figure = plot_views(runs)
    places = [panel.get_subplotspec() for panel in figure.axes]
    assert [(p.rowspan.start, p.colspan.start) for p in places] == [
        (i // 3, i % 3) for i in range(7)
    ]
    labelled = [bool(panel.get_ylabel()) for panel in figure.axes]
    assert labelled == [i % 3 == 0 for i in range(7)]


def test_views_legend_names_what_any_panel_has(results):
    runs = [Result('shop', 'BM3', 'base', 0, test={'full': {'recall@20': 1}})]
    figure = plot_views([*runs, *results])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == list(COLORS)


def test_weights_of_many_modalities():
    entry = {'epoch': 1.0, **{f'weight_{i:02}': i / 10 for i in range(12)}}
    run = Result('shop', 'VBPR', 'ckd', 0, history=[entry])
    (panel,) = plot_weights([run]).axes
    drawn = [line.get_ydata()[0] for line in panel.lines]
    assert drawn == [*(i / 10 for i in range(12)), 1]  # and the line at 1
    assert panel.get_ylim() == (0, 12)


def test_distances_to_teachers():
    entry = {'epoch': 1.0, 'weight_text': 1.0, 'specific_text': 0.7}
    run = Result('shop', 'VBPR', 'ckd', 0, history=[entry])
    (panel,) = plot_weights([run], part='specific').axes
    assert [list(line.get_ydata()) for line in panel.lines] == [[0.7]]
    assert panel.get_ylabel() == 'specific loss of a modality'


def test_curves():
    def run(method: str, seed: int, *values: float) -> Result:
        history = [
            {
                'epoch': 5 * i,
                'val_recall@20': value,
                'val_recall@20/only(text)': value / 2,
            }
            for i, value in enumerate(values)
        ]
        return Result('shop', 'VBPR', method, seed, history=history)

    teacher = Result('shop', 'VBPR', 'teacher(text)', 0)
    teacher.val = {'recall@20': 0.35}
    runs = [
        run('base', 0, 0.1, 0.2, 0.3),
        run('base', 1, 0.3, 0.4),  # stopped early
        run('ckd', 0, 0.5),
        teacher,
    ]
    (panel,) = plot_curves(runs).axes
    drawn = {
        (line.get_color(), line.get_linestyle()): [
            round(float(y), 4) for y in line.get_ydata()
        ]
        for line in panel.lines
    }
    color = next(color for color, _ in drawn if color != 'black')
    assert drawn == {
        ('black', '--'): [0.2, 0.3],
        ('black', '-'): [0.5],
        (color, '--'): [0.1, 0.15],
        (color, '-'): [0.25],
        (color, ':'): [0.35, 0.35],
    }
    assert list(panel.lines[0].get_xdata()) == [0, 5]


def test_gains():
    gains = {
        'VBPR': Comparison(0.1, 0.05, 0.2, 0.01, None, 1, 9),
        'MGCN': Comparison(0.1, -0.05, 0.2, 0.4, None, 1, 9),
    }
    (panel,) = plot_gains(gains).axes
    ends = [list(line.get_xdata()) for line in panel.lines[:4:2]]
    assert ends == [[5, 20], [-5, 20]]
    assert [line.get_color() for line in panel.lines[:4:2]] == [
        COLORS['CKD'],
        COLORS['trained alone'],
    ]
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == ['VBPR', 'MGCN']


def shop(degree: list[int]) -> HeteroData:
    data = HeteroData()
    data['user'].num_nodes = data['item'].num_nodes = len(degree)
    user = torch.arange(len(degree)).repeat_interleave(torch.tensor(degree))
    data['user', 'rates', 'item'].edge_index = torch.stack([user, user])
    return data


def run_of(method: str, seed: int, user: Tensor, recall: Tensor) -> Result:
    users = {'user': user, 'recall@20': recall}
    return Result('shop', 'VBPR', method, seed, users=users)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_groups_of_users(degree):
    num_users = len(degree)
    order = torch.randperm(num_users)
    recall = torch.rand(4, num_users)
    runs = [
        run_of('base', 0, torch.arange(num_users), recall[0]),
        run_of('base', 1, torch.arange(num_users), recall[1]),
        run_of('ckd', 0, order, recall[2][order]),  # in another order
        run_of('ckd', 1, order, recall[3][order]),
        run_of('ckd', 2, order, recall[0]),  # no such base
    ]
    groups = degree_changes(runs, shop(degree))
    assert 1 <= len(groups) <= 4

    expected = ((recall[2] - recall[0]) + (recall[3] - recall[1])) / 2
    seen = []
    for label, change in groups:
        low, *_, high = label.split('–') * 2
        own = [int(low) <= d <= int(high) for d in degree]
        torch.testing.assert_close(change, expected[own])
        seen += [user for user in range(num_users) if own[user]]
    assert sorted(seen) == list(range(num_users))  # each in one group


def test_groups_have_about_the_same_size():
    user, zero = torch.arange(80), torch.zeros(80)
    runs = [run_of('base', 0, user, zero), run_of('ckd', 0, user, zero)]
    groups = degree_changes(runs, shop(list(range(80))))
    assert [label for label, _ in groups] == ['0–19', '20–39', '40–59', '60–79']


def test_degrees():
    user = torch.arange(4)
    runs = [
        run_of('base', 0, user, torch.tensor([0.0, 0.0, 0.5, 0.5])),
        run_of('ckd', 0, user, torch.tensor([0.2, 0.4, 0.5, 0.3])),
    ]
    figure = plot_degrees(runs, shop([1, 1, 9, 9]))
    (panel,) = figure.axes
    heights = [round(bar.get_height(), 4) for bar in panel.patches]
    assert heights == [0.3, -0.1]
    ends = panel.collections[0].get_segments()[0][:, 1]
    # The standard error of two values is half of their difference:
    assert ends == pytest.approx([0.3 - 1.96 * 0.1, 0.3 + 1.96 * 0.1])
    labels = [label.get_text() for label in panel.get_xticklabels()]
    assert labels == ['1\n(2)', '9\n(2)']


@pytest.mark.parametrize('side', ['user', 'item'])
def test_degrees_need_values(results, side):
    with pytest.raises(ValueError, match=f'with metrics of each {side}'):
        plot_degrees(results, shop([1]), side)


def test_degrees_need_the_same_users():
    zero = torch.zeros(2)
    runs = [
        run_of('base', 0, torch.tensor([0, 1]), zero),
        run_of('ckd', 0, torch.tensor([0, 2]), zero),
    ]
    with pytest.raises(ValueError, match='tested on different users'):
        degree_changes(runs, shop([1, 1, 1]))


def test_degrees_of_items():
    item = torch.tensor([0, 0, 1, 2])  # of test interactions
    runs = [
        Result('shop', 'VBPR', method, 0, hits={'item': item, 'hit@20': hit})
        for method, hit in (
            ('base', torch.tensor([0.0, 1.0, 1.0, 1.0])),
            ('ckd', torch.tensor([1.0, 1.0, 0.0, 1.0])),
        )
    ]
    groups = degree_changes(runs, shop([3, 8, 8]), 'item')
    assert [(label, change.tolist()) for label, change in groups] == [
        ('3', [1.0, 0.0]),
        ('8', [-1.0, 0.0]),
    ]
    (panel,) = plot_degrees(runs, shop([3, 8, 8]), 'item').axes
    assert [bar.get_height() for bar in panel.patches] == [0.5, -0.5]
    assert panel.get_xlabel() == (
        'training interactions of the item (test interactions)'
    )


def test_levels():
    def at(level: float) -> list[Result]:
        values = {'base': 0.3 - level / 10, 'ckd': 0.4, 'teacher(text)': 0.2}
        return [
            Result(
                'shop',
                'VBPR',
                method,
                seed,
                test={
                    'only(text)' if 'text' in method else 'full': {
                        'recall@20': value + 0.02 * seed
                    }
                },
            )
            for method, value in values.items()
            for seed in (0, 1)
        ]

    figure = plot_levels({0.0: at(0.0), 0.5: at(0.5)}, 'share missing')
    (panel,) = figure.axes
    lines = {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in panel.lines
        if not line.get_label().startswith('_')
    }
    assert list(lines) == ['base', 'ckd', 'teacher(text)']
    assert lines['base'][0] == [0.0, 0.5]
    assert lines['base'][1] == pytest.approx([0.31, 0.26])
    assert lines['ckd'][1] == pytest.approx([0.41, 0.41])
    dots = [line for line in panel.lines if line.get_marker() == '.']
    assert len(dots) == 6
    assert panel.get_xlabel() == 'share missing'


def test_svg(results):
    one, again, other = (
        to_svg(plot_views(results), name) for name in ('a', 'a', 'b')
    )
    assert one == again
    ids, others = (set(re.findall(r' id="(.+?)"', x)) for x in (one, other))
    assert len(ids) > 20
    assert not ids & others
    assert len(ids) == one.count(' id="')
    used = re.findall(r' href="#(.+?)"|url\(#(.+?)\)', one)
    assert used
    assert {a or b for a, b in used} <= ids

    assert one.startswith('<svg ')
    assert one.rstrip().endswith('</svg>')
    assert '>FREEDOM</text>' in one
    assert 'http' not in one
    assert '<style' not in one
    colors = set(re.findall(r'(?:fill|stroke): ([^;"]+)', one))
    assert colors == {
        'none',
        'currentColor',
        *(f'var(--{color[1:]}, {color})' for color in COLORS.values()),
    }
