"""Weights and learning curves."""

from __future__ import annotations

from pyg_ckd._shown.page.drawn import Drawn, figures
from pyg_ckd._shown.page.section import Section
from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments.plots import plot_curves, plot_weights
from pyg_ckd.experiments.plots.curves import mean_curve
from pyg_ckd.experiments.plots.shown import shown_of
from pyg_ckd.experiments.plots.weights import Part, logged
from pyg_ckd.experiments.tables import METRIC

PARTS: tuple[tuple[Part, str], ...] = (
    ('weight', 'weights'),
    ('specific', 'specific losses'),
)


def weights_section(material: Material) -> Section | None:
    """Return how CKD weighed modalities."""
    drawn = []
    for number, (backbone, group) in enumerate(material.plotted.items()):
        for part, what in PARTS:
            logging = [run for run in group if logged([run], part)]
            runs = shown_of(logging).student
            names = logged(runs, part)
            if len(names) < 2 or len(runs[0].history) < 2:
                continue
            last = runs[0].history[-1]
            ends = ', '.join(
                f'{m} {last[f"{part}_{m}"]:.2f}'
                for m in names
                if f'{part}_{m}' in last
            )
            text = (
                f'{backbone}: {what} of modalities over training, at the end '
                f'of seed {runs[0].run.seed}: {ends}.'
            )
            name, caption = f'{part}-{number}', f'{backbone}: {what}'
            drawn.append(Drawn(plot_weights(runs, part), name, caption, text))
    if not drawn:
        return None
    return Section(
        'weights',
        'Weights and distances to teachers over training',
        'One plot shows the mean weight of each modality in the distillation. '
        'Weights come from the counterfactual effects; 1 is no preference, and '
        'a modality that lags behind gets more. The other shows the specific '
        'loss: how far the view of a modality is behind its teacher on '
        'training triples; 0 has caught up. A line is a seed.',
        [figures(drawn, 'four')],
    )


def curves_section(material: Material) -> Section | None:
    """Return validation over training."""
    key = f'val_{METRIC}'
    drawn = []
    for number, (backbone, runs) in enumerate(material.plotted.items()):
        shown = shown_of(runs)
        best = {
            name: max(mean_curve(own, key)[1], default=0.0)
            for name, (_, own) in shown.parts.items()
            if len(mean_curve(own, key)[0]) > 1
        }
        if shown.name not in best:
            continue
        ends = ', '.join(f'{name} {value:.4f}' for name, value in best.items())
        text = f'{backbone}: validation {METRIC} over training, at best: {ends}'
        plot = plot_curves(runs, key)
        drawn.append(Drawn(plot, f'curves-{number}', backbone, f'{text}.'))
    if not drawn:
        return None
    return Section(
        'curves',
        'Learning curves',
        f'Validation {METRIC} in training, with balancing (solid) and without '
        f'(dashed), a colour for each view. A view that falls behind in the '
        f'base and not in the other is what CKD is about. Dotted: what the '
        f'model trained alone on that modality ended with. Means over seeds, '
        f'as far as all of them were trained.',
        [figures(drawn)],
    )
