import math
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.experiments.method import METHODS, Method
from pyg_ckd.experiments.plots import (
    degree_changes,
    plot_curves,
    plot_degrees,
    plot_gains,
    plot_levels,
    plot_views,
    plot_weights,
    to_svg,
)
from pyg_ckd.experiments.plots.shown import shown_of
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.statistics import Comparison
from pyg_ckd.inspect.colors import COLORS, CYCLE

BASE, CKD = METHODS['base'], METHODS['ckd']
TEXT = Method('teacher', modality='text')


def result(
    method: Method, seed: int = 0, backbone: str = 'VBPR', **kwargs: object
) -> Result:
    return Result(Run('shop', backbone, method, seed), **kwargs)


@pytest.fixture
def results() -> list[Result]:
    """Two backbones, two seeds, figures that are all different."""
    runs = []
    for b, backbone in enumerate(['VBPR', 'FREEDOM']):
        for seed in (0, 1):
            value = 0.1 * (b + 1) + 0.02 * seed
            for m in ('image', 'text'):
                test = {f'only({m})': {'recall@20': value}}
                teacher = Method('teacher', modality=m)
                runs.append(result(teacher, seed, backbone, test=test))
            for k, method in enumerate([BASE, CKD]):
                views = ['full', 'only(image)', 'only(text)']
                test = {
                    v: {'recall@20': value + 0.003 * (k + 1) + 0.001 * i}
                    for i, v in enumerate(views)
                }
                history = [
                    {'epoch': 5, 'weight_image': 1.2, 'weight_text': 0.8},
                    {'epoch': 10, 'weight_image': 1.1, 'weight_text': 0.9},
                ]
                if method == BASE:
                    history = []
                runs.append(
                    result(method, seed, backbone, test=test, history=history)
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
    runs = [r for r in results if r.run.backbone == 'VBPR']
    figure = plot_views([r for r in runs if r.run.method == BASE])
    (panel,) = figure.axes
    assert len(panel.patches) == 3


def test_rows_of_three_panels():
    runs = [
        result(BASE, 0, f'model{i}', test={'full': {'recall@20': i}})
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
    runs = [result(BASE, 0, 'BM3', test={'full': {'recall@20': 1}})]
    figure = plot_views([*runs, *results])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == list(COLORS)


def test_weights_of_many_modalities():
    entry = {'epoch': 1.0, **{f'weight_{i:02}': i / 10 for i in range(12)}}
    run = result(CKD, history=[entry])
    (panel,) = plot_weights([run]).axes
    drawn = [line.get_ydata()[0] for line in panel.lines]
    assert drawn == [*(i / 10 for i in range(12)), 1]  # and the line at 1
    assert panel.get_ylim() == (0, 2)


def test_weights_are_drawn_as_high_as_they_are():
    entry = {'epoch': 1.0, 'weight_a': 2.5, 'weight_b': 0.4, 'weight_c': 0.1}
    (panel,) = plot_weights([result(CKD, history=[entry])]).axes
    assert panel.get_ylim() == (0, pytest.approx(2.75))
    entry['weight_a'] = 2.99
    (panel,) = plot_weights([result(CKD, history=[entry])]).axes
    assert panel.get_ylim() == (0, 3)  # the most there can be


def test_weights_that_some_evaluations_lack():
    history = [
        {'epoch': 0.0},
        {'epoch': 5.0, 'weight_text': 1.2, 'weight_image': 0.8},
        {'epoch': 10.0, 'weight_text': 1.1, 'weight_image': 0.9},
    ]
    silent = result(CKD, backbone='BM3', history=[{'epoch': 0.0}])
    (panel,) = plot_weights([silent, result(CKD, history=history)]).axes
    assert panel.get_title() == 'VBPR'
    assert [list(line.get_xdata()) for line in panel.lines[:2]] == [[5, 10]] * 2


def test_distances_to_teachers():
    entry = {'epoch': 1.0, 'weight_text': 1.0, 'specific_text': 0.7}
    run = result(CKD, history=[entry])
    (panel,) = plot_weights([run], part='specific').axes
    assert [list(line.get_ydata()) for line in panel.lines] == [[0.7]]
    assert panel.get_ylabel() == 'specific loss of a modality'


def test_curves():
    def run(method: Method, seed: int, *values: float) -> Result:
        history = [
            {
                'epoch': 5 * i,
                'val_recall@20': value,
                'val_recall@20/only(text)': value / 2,
            }
            for i, value in enumerate(values)
        ]
        return result(method, seed, history=history)

    teacher = result(TEXT, val={'recall@20': 0.35})
    runs = [
        run(BASE, 0, 0.1, 0.2, 0.3),
        run(BASE, 1, 0.3, 0.4),  # stopped early
        run(CKD, 0, 0.5),
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
        'LOST': Comparison(0.1, 0.05, 0.2, 0.01, None, 1, 9, p_adjusted=0.2),
    }
    (panel,) = plot_gains(gains).axes
    ends = [list(line.get_xdata()) for line in panel.lines[:6:2]]
    assert ends == [[5, 20], [-5, 20], [5, 20]]
    assert [line.get_color() for line in panel.lines[:6:2]] == [
        COLORS['CKD'],
        COLORS['trained alone'],
        COLORS['trained alone'],
    ]
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == ['VBPR', 'MGCN', 'LOST']


def test_gain_that_was_cut_short_is_hollow_and_grey():
    gain = Comparison(0.1, 0.05, 0.2, 0.01, None, 1, 9)
    gains = {'whole': gain, 'cut': replace(gain, cut_short=True)}
    (panel,) = plot_gains(gains).axes
    whole, cut = panel.lines[1], panel.lines[3]
    assert whole.get_markerfacecolor() == whole.get_color() == COLORS['CKD']
    assert cut.get_markerfacecolor() == 'white'
    assert cut.get_color() == COLORS['trained alone']


def test_gain_without_bounds_and_with_a_long_name():
    gains = {
        'a ' * 40: Comparison(0.1, -math.inf, math.inf, 1.0, None, 1, 9),
        'short': Comparison(0.2, 0.1, 0.3, 1.0, None, 1, 9),
    }
    figure = plot_gains(gains)
    (panel,) = figure.axes
    assert list(panel.lines[0].get_xdata()) == [0, 1]  # from end to end
    long, short = (label.get_text() for label in panel.get_yticklabels())
    assert short == 'short'
    assert long.count('\n') == 2
    assert max(map(len, long.split('\n'))) <= 34
    places = [float(place) for place in panel.get_yticks()]
    assert places == pytest.approx([1.1, 2.7])  # rows as high as their names
    figure.draw_without_rendering()


def shop(degree: list[int]) -> HeteroData:
    data = HeteroData()
    data['user'].num_nodes = data['item'].num_nodes = len(degree)
    user = torch.arange(len(degree)).repeat_interleave(torch.tensor(degree))
    data['user', 'rates', 'item'].edge_index = torch.stack([user, user])
    return data


def run_of(method: Method, seed: int, user: Tensor, recall: Tensor) -> Result:
    return result(method, seed, users={'user': user, 'recall@20': recall})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_groups_of_users(degree):
    num_users = len(degree)
    order = torch.randperm(num_users)
    recall = torch.rand(4, num_users)
    runs = [
        run_of(BASE, 0, torch.arange(num_users), recall[0]),
        run_of(BASE, 1, torch.arange(num_users), recall[1]),
        run_of(CKD, 0, order, recall[2][order]),  # in another order
        run_of(CKD, 1, order, recall[3][order]),
        run_of(CKD, 2, order, recall[0]),  # no such base
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
    runs = [run_of(BASE, 0, user, zero), run_of(CKD, 0, user, zero)]
    groups = degree_changes(runs, shop(list(range(80))))
    assert [label for label, _ in groups] == ['0–19', '20–39', '40–59', '60–79']


def test_degrees():
    user = torch.arange(4)
    runs = [
        run_of(BASE, 0, user, torch.tensor([0.0, 0.0, 0.5, 0.5])),
        run_of(CKD, 0, user, torch.tensor([0.2, 0.4, 0.5, 0.3])),
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
        run_of(BASE, 0, torch.tensor([0, 1]), zero),
        run_of(CKD, 0, torch.tensor([0, 2]), zero),
    ]
    with pytest.raises(ValueError, match='tested on different users'):
        degree_changes(runs, shop([1, 1, 1]))


def test_degrees_of_items():
    item = torch.tensor([0, 0, 1, 2])  # of test interactions
    runs = [
        result(method, hits={'item': item, 'hit@20': hit})
        for method, hit in (
            (BASE, torch.tensor([0.0, 1.0, 1.0, 1.0])),
            (CKD, torch.tensor([1.0, 1.0, 0.0, 1.0])),
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
        values = {BASE: 0.3 - level / 10, CKD: 0.4, TEXT: 0.2}
        return [
            result(
                method,
                seed,
                test={
                    'only(text)' if method is TEXT else 'full': {
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
    assert list(lines) == ['base', 'CKD', 'text alone']
    assert lines['base'][0] == [0.0, 0.5]
    assert lines['base'][1] == pytest.approx([0.31, 0.26])
    assert lines['CKD'][1] == pytest.approx([0.41, 0.41])
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


# Which rows are shown #########################################################


GATE, OGM = METHODS['ckd-gate'], METHODS['ogm-ge']
SOFTMAX = Method.student('CKD', objective='Softmax')


def names_of(*methods: Method, student: Method | None = None) -> list[str]:
    shown = shown_of([result(method) for method in methods], student)
    return [str(r.run.method) for r in (*shown.base, *shown.student)]


@pytest.mark.parametrize(
    ('methods', 'names'),
    [
        ([BASE, OGM, GATE, CKD], ['base', 'CKD']),
        ([BASE, SOFTMAX, CKD], ['base', 'CKD']),
        ([BASE, OGM, Method.student('CKD', name='mine')], ['base', 'mine']),
        ([BASE, GATE, SOFTMAX], ['CKD, softmax']),  # its base is not there
        (
            [BASE, Method(objective='Softmax'), GATE, SOFTMAX],
            ['base, softmax', 'CKD, softmax'],
        ),
        ([BASE, OGM, GATE], ['base', 'CKD, gate']),
        ([BASE, OGM, METHODS['agm']], ['base', 'OGM-GE']),
        ([BASE, METHODS['ensemble']], ['base']),
        ([Method(name='other features'), BASE, CKD], ['base', 'CKD']),
        ([Method(name='plain'), CKD], ['plain', 'CKD']),
        ([], []),
    ],
)
def test_plain_ckd_is_shown_or_else_the_first_student(methods, names):
    assert names_of(*methods) == names


def test_a_student_can_be_asked_for():
    methods = [BASE, CKD, OGM, GATE]
    assert names_of(*methods, student=OGM) == ['base', 'OGM-GE']
    assert names_of(*methods, student=METHODS['umt']) == ['base']


def test_teachers_are_those_of_the_objective():
    soft = Method('teacher', modality='text', objective='Softmax')
    runs = [result(m) for m in (BASE, TEXT, soft, CKD)]
    assert [r.run.method for r in shown_of(runs).teachers] == [TEXT]
    runs = [result(m) for m in (BASE, TEXT, soft, SOFTMAX)]
    assert [r.run.method for r in shown_of(runs).teachers] == [soft]


def test_other_students_have_their_name_and_colour(results):
    runs = [
        replace(r, run=replace(r.run, method=OGM))
        if r.run.method == CKD and r.run.backbone == 'VBPR'
        else r
        for r in results
    ]
    figure = plot_views(runs)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == [
        'trained alone',
        'base',
        'OGM-GE',
        'CKD',
    ]
    colors = [
        {to_hex(bar.get_facecolor()) for bar in panel.patches}
        for panel in figure.axes
    ]
    own = {COLORS['trained alone'], COLORS['base']}
    assert colors == [own | {CYCLE[2]}, own | {COLORS['CKD']}]


def test_bars_of_the_student_that_was_asked_for(results):
    gate = [
        replace(
            r,
            run=replace(r.run, method=GATE),
            test={'full': {'recall@20': 0.9}},
        )
        for r in results
        if r.run.method == CKD
    ]
    (panel, _) = plot_views([*results, *gate], student=GATE).axes
    heights = [round(bar.get_height(), 4) for bar in panel.patches]
    assert 0.9 in heights
    assert 0.117 not in heights  # those of plain CKD
    panel, _ = plot_views([*results, *gate]).axes
    assert 0.9 not in [round(bar.get_height(), 4) for bar in panel.patches]


def test_curves_name_the_student():
    history = [
        {'epoch': epoch, 'val_recall@20': 0.1 * epoch} for epoch in (1, 2)
    ]
    runs = [result(m, history=history) for m in (BASE, OGM)]
    (legend,) = plot_curves(runs).legends
    names = [text.get_text() for text in legend.texts]
    assert names == ['full', 'base', 'OGM-GE']
    (legend,) = plot_curves(runs[:1]).legends
    assert [text.get_text() for text in legend.texts] == ['full', 'base']


def test_long_names_are_wrapped():
    name = 'a recommender with a name of many words, and more of them'
    run = result(BASE, 0, name, test={'full': {'recall@20': 0.1}})
    run.test['only(' + 'm' * 40 + ')'] = {'recall@20': 0.1}
    (panel,) = plot_views([run]).axes
    assert panel.get_title().count('\n') == 1
    assert panel.get_title().replace('\n', ' ') == name
    label = panel.get_xticklabels()[1]
    assert label.get_rotation() == 30
    assert '\n' in label.get_text()


# Degrees of other students, and of data that does not fit #####################


def test_degrees_of_the_student_that_was_asked_for():
    user, zero = torch.arange(4), torch.zeros(4)
    runs = [
        run_of(BASE, 0, user, zero),
        run_of(CKD, 0, user, zero + 0.25),
        run_of(OGM, 0, user, zero + 0.5),
    ]
    data = shop([1, 1, 9, 9])
    assert [c.mean() for _, c in degree_changes(runs, data)] == [0.25, 0.25]
    changes = degree_changes(runs, data, student=OGM)
    assert [c.mean() for _, c in changes] == [0.5, 0.5]
    (panel,) = plot_degrees(runs, data, student=OGM).axes
    assert panel.get_ylabel() == 'test recall@20, OGM-GE − base'
    assert [bar.get_height() for bar in panel.patches] == [0.5, 0.5]
    assert to_hex(panel.patches[0].get_facecolor()) == CYCLE[2]


def test_degrees_of_other_data():
    user, zero = torch.tensor([0, 5]), torch.zeros(2)
    runs = [run_of(BASE, 0, user, zero), run_of(CKD, 0, user, zero)]
    match = "'data' needs to be what 'runs' were tested on: it has 3 users"
    with pytest.raises(ValueError, match=match):
        degree_changes(runs, shop([1, 1, 1]))


def test_hits_are_paired_by_user_and_item():
    hits = {
        'user': torch.tensor([2, 1, 1, 0]),
        'item': torch.tensor([0, 1, 0, 1]),
        'hit@20': torch.tensor([0.0, 0.0, 1.0, 0.0]),
    }
    order = torch.tensor([3, 2, 0, 1])
    more = {name: values[order] for name, values in hits.items()}
    more['hit@20'] = torch.tensor([0.5, 1.0, 0.75, 0.0])
    runs = [result(BASE, hits=hits), result(CKD, hits=more)]
    groups = degree_changes(runs, shop([1, 4, 4]), 'item')
    assert [(label, change.tolist()) for label, change in groups] == [
        ('1', [0.0, 0.75]),  # of users 1 and 2
        ('4', [0.5, 0.0]),  # of users 0 and 1
    ]


def test_a_group_of_one_has_no_error():
    user, zero = torch.arange(3), torch.zeros(3)
    runs = [run_of(BASE, 0, user, zero), run_of(CKD, 0, user, zero + 1)]
    (panel,) = plot_degrees(runs, shop([1, 5, 9])).axes
    for segment in panel.collections[0].get_segments():
        assert list(segment[:, 1]) == [1, 1]


def test_a_long_name_does_not_stand_beside_a_panel():
    user, zero = torch.arange(2), torch.zeros(2)
    student = Method.student('CKD', name='a student with a long name')
    runs = [run_of(BASE, 0, user, zero), run_of(student, 0, user, zero)]
    (panel,) = plot_degrees(runs, shop([1, 5])).axes
    assert panel.get_ylabel() == 'test recall@20, change'


def test_a_student_named_base_does_not_hide_the_base():
    student = Method.student('OGMGE', name='base')
    runs = [Result(Run('shop', 'VBPR', m, 0)) for m in (Method(), student)]
    assert list(shown_of(runs).parts) == ['base', 'base (student)']
