"""Draws the pictures of ``docs/concepts.md`` and of the first page.

``python docs/pictures/draw.py`` writes the SVG files beside this one. Figures
are read from the table in ``docs/concepts.md``, and curves are those of the
losses themselves. ``overview.png`` is ``overview.svg`` at twice its size, as a
browser shows it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from picture import INK, LINE, MONO, Picture
from torch import Tensor

from pyg_ckd.balance import (
    Hinge,
    SoftCrossEntropy,
    effects,
    modality_weights,
)
from pyg_ckd.inspect.colors import COLORS, CYCLE

HERE = Path(__file__).parent
IMAGE, TEXT = CYCLE[:2]
ID = '#5f6b7a'
CKD = COLORS['CKD']
MODALITIES = ('image', 'text')
#: What the parts of VBPR add to the margin of a triple, an example.
MARGIN = {'ID': 1.0, 'image': 1.0, 'text': 3.0}
BACKBONES = ['VBPR', 'FREEDOM', 'MGCN', 'LATTICE', 'your own']
BALANCES = ['None', 'CKD', 'UMT', 'OGMGE', 'AGM', 'ModalityDropout']
#: Of most pictures: units across, and pixels at which wide pages show them.
WIDTH, SHOWN = 440, 480


def picture(title: str, height: float) -> Picture:
    """Return an empty picture of the width that phones can show."""
    return Picture(title, WIDTH, height, SHOWN)


def graph() -> Picture:
    """Draw users, items, their features and their interactions."""
    p = picture('Users, items, features and interactions', 318)
    users, items = [85, 150, 215], [60, 120, 180, 240]
    p.text((60, 22), 'user', weight=600)
    p.text((236, 22), 'item', weight=600)
    p.text((322, 22), 'x_image', 15, font=MONO)
    p.text((400, 22), 'x_text', 15, font=MONO)
    for user, item, dash in [
        (0, 0, ''),
        (0, 1, ''),
        (0, 2, '9 6'),
        (1, 1, ''),
        (1, 0, '9 6'),
        (1, 3, '2.5 5'),
        (2, 2, ''),
        (2, 3, ''),
        (2, 1, '2.5 5'),
    ]:
        p.line([(78, users[user]), (220, items[item])], LINE, 2.5, dash)
    for y in users:
        p.circle((60, y), 18, ID)
    for y in items:
        p.rect((220, y - 16), (32, 32), ID)
        for x, color in ((290, IMAGE), (368, TEXT)):
            for cell in range(4):
                p.rect((x + 16 * cell, y - 9), (14, 18), color, radius=2)
    for x, words, dash in (
        (16, 'training', ''),
        (152, 'validation', '9 6'),
        (308, 'test', '2.5 5'),
    ):
        p.line([(x, 296), (x + 38, 296)], LINE, 2.5, dash)
        p.text((x + 47, 296), words, 15, anchor='start')
    return p


def backbone() -> Picture:
    """Draw how features become embeddings, and embeddings a score."""
    p = picture('From features to a score', 366)
    for x, words, color in (
        (8, 'IDs', ID),
        (156, 'x_image', IMAGE),
        (304, 'x_text', TEXT),
    ):
        p.box((x, 6), (128, 36), words, fill=color, font=MONO if x > 8 else '')
        p.arrow([(x + 64, 46), (x + 64, 76)])
    p.box((8, 80), (424, 44), 'backbone: model(data)', stroke=LINE)
    for x, name, row, one in (
        (40, 'user_emb', 2, 'u'),
        (256, 'item_emb', 1, 'i'),
    ):
        p.arrow([(x + 72, 128), (x + 72, 156)])
        p.text((x + 72, 172), name, 15, font=MONO)
        for line in range(4):
            chosen = line == row
            for part, color in enumerate((ID, IMAGE, TEXT)):
                y = 190 + 25 * line
                shown = (color, 'none') if chosen else ('none', color)
                p.rect((x + 48 * part, y), (45, 20), *shown, radius=3)
        y = 200 + 25 * row
        p.text((x - 16 if one == 'u' else x + 160, y), one, weight=600)
    p.arrow([(112, 294), (112, 342), (146, 342)])
    p.arrow([(328, 294), (328, 342), (294, 342)])
    p.text((220, 318), 'dot product', 15)
    p.text((220, 342), 'score(u, i)', weight=600)
    return p


def views() -> Picture:
    """Draw which blocks each view keeps."""
    p = picture('The blocks that each view keeps', 236)
    for x, words in ((196, 'ID block'), (288, 'image'), (380, 'text')):
        p.text((x, 18), words, 15)
    rows = [
        ('full', '', (IMAGE, TEXT)),
        ('only(image)', 'without(text)', (IMAGE, '')),
        ('only(text)', 'without(image)', ('', TEXT)),
    ]
    for place, (name, other, kept) in enumerate(rows):
        y = 38 + 72 * place
        p.text((4, y + (16 if other else 25)), name, 16, INK, 'start', 600)
        if other:
            p.text((4, y + 37), f'= {other}', 14, anchor='start')
        p.rect((156, y), (80, 50), ID)
        for x, own, color in zip((248, 340), (IMAGE, TEXT), kept, strict=True):
            if color:
                p.rect((x, y), (80, 50), color)
            else:
                size = (78, 48)
                p.box((x + 1, y + 1), size, 'mean', stroke=own, dash='6 5')
    return p


def table() -> dict[str, list[str]]:
    """Return the table of the page: alone, base and CKD of each view."""
    page = (HERE.parent / 'concepts.md').read_text('utf-8')
    lines = page.split('```text\n')[1].split('```')[0].splitlines()[1:]
    return {line.split()[0]: line.split()[1:] for line in lines}


def imbalance() -> Picture:
    """Draw the table of the page as bars."""
    p = picture('Recall@20 of each view', 322)
    colors = list(COLORS.values())
    for x, name, color in zip((4, 158, 258), COLORS, colors, strict=True):
        p.rect((x, 4), (18, 18), color, radius=3)
        p.text((x + 26, 13), name, 15, anchor='start')
    y = 40.0
    for view, found in table().items():
        p.text((4, y + 10), view, 16, INK, 'start', 600)
        y += 26
        for value, color in zip(found, colors, strict=True):
            if value != '-':
                length = 690 * float(value)
                p.rect((4, y), (length, 20), color, radius=2)
                shown = value.lstrip('0')
                p.text((length + 14, y + 10), shown, 15, anchor='start')
                y += 23
        y += 10
    return p


def distillation() -> Picture:
    """Draw the two losses over the margin of the student."""
    p = picture('The specific and the generic loss', 262)
    taught = torch.tensor(0.15)
    student = torch.linspace(-0.4, 0.5, 91)
    generic = SoftCrossEntropy(tau=0.1)
    curves = {
        'specific': Hinge()(student, taught),
        'generic': torch.stack(
            [generic(d.view(1), taught.view(1)) for d in student]
        ),
    }
    triples = {'specific': 'training triples', 'generic': 'random pairs'}
    for left, (name, loss) in zip((14, 240), curves.items(), strict=True):
        p.text((left + 92, 14), name, weight=600)
        p.text((left + 92, 35), triples[name], 15)
        x = left + (student + 0.4) / 0.9 * 184
        y = 206 - loss / loss.max() * 146
        goal = float(left + (taught + 0.4) / 0.9 * 184)
        p.line([(goal, 56), (goal, 208)], COLORS['trained alone'], 2.5, '6 5')
        p.line([(left, 52), (left, 208), (left + 188, 208)], LINE, 2)
        p.line(list(zip(x.tolist(), y.tolist(), strict=True))[::2], CKD, 3.5)
        p.text((goal, 224), 'teacher', 14)
        p.text((left + 92, 248), "student's margin", 15)
    p.text((22, 62), 'loss', 14, anchor='start')
    return p


def example() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return effects, margins alone, progress and weights of a triple."""
    full = torch.tensor([sum(MARGIN.values())])
    alone = torch.tensor([[MARGIN['ID'] + MARGIN[m] for m in MODALITIES]])
    without = alone.flip(-1)
    progress = effects(full, without, alone)
    effect = full.unsqueeze(1) - without
    return effect, alone, progress, modality_weights(progress)


def weights() -> Picture:
    """Draw a margin, what ablation leaves of it, and what follows."""
    found = example()
    p = picture('Margins, effects, progress and weights', 370)
    colors = {'ID': ID, 'image': IMAGE, 'text': TEXT}
    p.text((4, 16), 'margin of one triple', 16, INK, 'start', 600)
    for y, view, gone in (
        (36, 'full', ''),
        (82, 'without(image)', 'image'),
        (128, 'without(text)', 'text'),
    ):
        p.text((4, y + 17), view, 15, anchor='start')
        x = 128.0
        for name, value in MARGIN.items():
            size = (54 * value - 3, 34)
            if name == gone:
                ablated = (size[0] - 2, 32)
                p.rect((x + 1, y + 1), ablated, 'none', colors[name], '6 5')
            else:
                label = f'ID {value:g}' if name == 'ID' else f'{value:g}'
                p.box((x, y), size, label, fill=colors[name])
            x += 54 * value
        total = sum(v for name, v in MARGIN.items() if name != gone)
        p.text((434, y + 17), f'{total:g}', 16, INK, 'end', 600)
    for x, name in ((262, 'image'), (372, 'text')):
        p.box((x - 40, 182), (80, 28), name, fill=colors[name], letters=15)
    rows = (
        ('effect', 'g'),
        ('margin of only(m)', 'g'),
        ('progress, their ratio', '.2f'),
        ('weight', '.1f'),
    )
    for place, (name, form) in enumerate(rows):
        y = 230 + 36 * place
        last = place == 3
        if last:
            p.line([(4, y - 14), (434, y - 14)], LINE, 1.5)
            y += 8
        weight = 600 if last else 500
        p.text((4, y), name, 15, INK, 'start', weight)
        for x, value in zip((262, 372), found[place][0].tolist(), strict=True):
            p.text((x, y), f'{value:{form}}', 16, weight=weight)
    return p


def parts() -> Picture:
    """Draw the parts that combine freely."""
    p = picture('Backbone, objective and balance', 330)
    columns = [
        (4, 116, 'backbone', BACKBONES),
        (140, 128, 'objective', ['BPR', 'Softmax', "model's own"]),
        (288, 148, 'balance', BALANCES),
    ]
    p.line([(62, 97), (362, 97)], CKD, 3.5)
    for x, width, head, names in columns:
        p.text((x + width / 2, 16), head, weight=600)
        for place, name in enumerate(names):
            y = 38 + 42 * place
            chosen = name in ('FREEDOM', 'Softmax', 'CKD')
            style = {'fill': CKD} if chosen else {'stroke': LINE}
            p.box((x, y), (width, 34), name, letters=14.5, **style)
    for x in (130, 278):
        p.text((x, 16), '×', 18)
    line = 'Recommendation(model, data, objective, balance)'
    p.text((220, 314), line, 14, font=MONO)
    return p


def step() -> Picture:
    """Draw what happens in one step of training."""
    p = picture('One step of training', 512)
    p.box((8, 6), (204, 50), 'batch', '(u, i, j) of training', stroke=LINE)
    p.box((228, 6), (204, 50), 'random', '(u, j, k) of CKD', stroke=CKD)
    p.arrow([(110, 58), (110, 86)])
    p.arrow([(330, 58), (330, 86)], CKD)
    p.rect((8, 90), (424, 92), 'none', LINE)
    p.text((220, 110), 'views of the model, margins D', weight=600)
    for x, name, color in (
        (20, 'full', ID),
        (156, 'only(image)', IMAGE),
        (292, 'only(text)', TEXT),
    ):
        p.box((x, 130), (128, 38), name, fill=color, letters=15)
    p.arrow([(84, 184), (84, 220)])
    p.arrow([(228, 184), (228, 220)])
    p.arrow([(372, 184), (372, 220)], CKD)
    p.box((8, 224), (152, 58), 'objective', 'trained view', stroke=LINE)
    p.box((172, 224), (112, 58), 'model', 'its own terms', stroke=LINE)
    p.box((296, 224), (136, 58), 'balance', 'views, teachers', stroke=CKD)
    p.arrow([(84, 284), (84, 320)])
    p.arrow([(228, 284), (228, 320)])
    p.arrow([(364, 284), (364, 320)], CKD)
    p.box((8, 324), (424, 40), 'loss = sum of the three', fill=ID)
    p.arrow([(220, 366), (220, 392)])
    p.text((220, 408), 'backward', 15)
    p.arrow([(220, 420), (220, 446)])
    p.box(
        (8, 450),
        (266, 56),
        'gradients',
        'a balance may change them',
        stroke=CKD,
    )
    p.arrow([(278, 478), (312, 478)])
    p.box((316, 450), (116, 56), 'Adam', stroke=LINE)
    return p


def results() -> Picture:
    """Draw the way from a plan to a report."""
    p = picture('From a run to a report', 306)
    rows = [
        ('run', 'data × backbone × method × seed', 'and settings, as one key'),
        (
            'fit',
            'trains what is not stored yet',
            'keeps the best on validation',
        ),
        (
            'store',
            'results.jsonl, one line a run',
            'embeddings/ for its students',
        ),
        (
            'report',
            'report.html, complete in itself',
            'views, gains, intervals',
        ),
    ]
    for place, (name, one, two) in enumerate(rows):
        y = 4 + 78 * place
        p.box((4, y), (96, 58), name, fill=ID)
        p.rect((100, y), (336, 58), 'none', LINE)
        p.text((114, y + 19), one, 15, anchor='start')
        p.text((114, y + 41), two, 15, anchor='start')
        if place < 3:
            p.arrow([(52, y + 60), (52, y + 76)])
    return p


def overview() -> Picture:
    """Draw CKD: teachers, views of the student, weights."""
    title = 'Teachers of one modality each, views of the student, weights'
    p = Picture(title, 800, 260, 800)
    for x, words in (
        (86, 'trained by'),
        (396, 'views of the student'),
        (678, 'weights'),
    ):
        p.text((x, 14), words, 20, weight=600)
    bars = zip((1, 2), (IMAGE, TEXT), example()[-1][0].tolist(), strict=True)
    for row, color, weight in bars:
        y = 72 + 68 * row
        name = ('image', 'text')[row - 1]
        p.box((2, y - 19), (168, 38), f'{name} teacher', fill=color, letters=17)
        p.arrow([(176, y), (318, y)], CKD, 5 * weight**2)
        p.rect((558, y - 15), (130 * weight, 30), color)
        p.text((582 + 130 * weight, y), f'{weight:.1f}', 19, weight=600)
        p.text((247, y - 22), 'distil', 17)
    p.text((678, 60), '(full − without(m)) / only(m)', 16)
    p.text((678, 83), 'the lower, the more weight', 16)
    p.box((2, 53), (168, 38), 'objective', stroke=LINE, letters=17)
    p.arrow([(176, 72), (318, 72)])
    p.line([(474, 58), (488, 58), (488, 222), (474, 222)])
    p.arrow([(488, 174), (546, 174)])
    rows = [
        ('full', (IMAGE, TEXT)),
        ('only(image)', (IMAGE, '')),
        ('only(text)', ('', TEXT)),
    ]
    for row, (name, kept) in enumerate(rows):
        y = 57 + 68 * row
        p.text((396, y - 14), name, 17)
        p.rect((326, y), (44, 30), ID)
        for x, own, color in zip((374, 422), (IMAGE, TEXT), kept, strict=True):
            if color:
                p.rect((x, y), (44, 30), color)
            else:
                p.rect((x + 1, y + 1), (42, 28), 'none', own, '6 5')
    p.arrow([(616, 226), (616, 248), (247, 248), (247, 216)], CKD)
    return p


PICTURES = {
    'graph': graph,
    'backbone': backbone,
    'views': views,
    'imbalance': imbalance,
    'distillation': distillation,
    'weights': weights,
    'parts': parts,
    'step': step,
    'results': results,
    'overview': overview,
}

if __name__ == '__main__':
    for name, draw in PICTURES.items():
        draw().save(HERE / f'{name}.svg')
