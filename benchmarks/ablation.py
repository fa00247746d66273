"""What does the work in CKD: each part left out, changed, or outdone.

    python benchmarks/ablation.py
    python benchmarks/ablation.py --dataset baby --root data --backbone VBPR \
        --variant 'only generic' 'no weights' --seed 0 1 2

Variants of CKD share one base and one set of teachers a seed. Beside them stand
honest comparators: the ensemble of the teachers, and a base with the patience
to train for longer. Cells are kept and resumed as by `run_all.py`,
in the same folder, so that neither runs again what the other has finished. It
ends with a table and a plot of gains over the base, with intervals of 95 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from pytorch_lightning import Callback
from rich.console import Console
from run_all import (
    BACKBONES,
    Benchmark,
    Cell,
    add_arguments,
    run_cells,
    split_method,
    terminal_table,
)

from pyg_ckd.analysis import (
    compare,
    holm,
    markdown_table,
    plot_gains,
    summarize,
)
from pyg_ckd.data import modalities
from pyg_ckd.nn import FixedEmbeddings
from pyg_ckd.views import full

#: Arguments of `CKD` that differ from those in the settings.
CKD_VARIANTS: dict[str, dict[str, Any]] = {
    'only specific': {'gamma': 0.0},
    'only generic': {'specific': None},
    'no weights': {'reweight': False},
    'only generic, no weights': {'specific': None, 'reweight': False},
    'mse': {'specific': 'mse'},
    'kl': {'specific': 'kl'},
    'teacher reference': {'reference': 'teacher'},
    'average effect': {'effect': 'average'},
    'average, teacher': {'effect': 'average', 'reference': 'teacher'},
    'eps 1e-8': {'eps': 1e-8},
    '1,000 triples': {'num_generic': 1000},
    '256 x 32 triples': {'num_generic': 256, 'group_size': 32},
    'strength 0.003': {'strength': 0.003},
    'strength 0.03': {'strength': 0.03},
    'strength 0.1': {'strength': 0.1},
    'gamma 1': {'gamma': 1.0},
    'gamma 20': {'gamma': 20.0},
    'tau 0.05': {'tau': 0.05},
    'tau 0.2': {'tau': 0.2},
    'tau 1': {'tau': 1.0},
    'gate': {'gate': True},
    'detached': {'detach_shared': True},
}
#: Instead of the 10 evaluations that are the default.
LONGER = {'patience': 40}
VARIANTS = {
    **{name: {'ckd': changes} for name, changes in CKD_VARIANTS.items()},
    'longer': {'fit': LONGER},
}
CHOICES = [*CKD_VARIANTS, 'longer', 'ensemble']


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description='Ablations of CKD.')
    add_arguments(parser, backbones=BACKBONES, default=['VBPR'])
    parser.add_argument(
        '--variant', nargs='*', default=CHOICES, choices=CHOICES
    )
    args = parser.parse_args(argv)
    folder = args.results / (args.run or args.dataset)
    folder.mkdir(parents=True, exist_ok=True)
    bench = Ablation(args, folder, VARIANTS)
    cells = list(bench.cells())
    console = Console()
    run_cells(bench, cells, console)

    results = [bench.finished[bench.key(cell)] for cell in cells]
    rows = summarize(results)
    console.print(terminal_table(rows, f'{args.dataset}, test'))
    lines = ['# Ablation', '', *(f'- {line}' for line in bench.about()), '']
    lines += [markdown_table(rows), '']
    for backbone in args.backbone:
        by_method: dict[str, list[Any]] = {}
        for result in results:
            if result.backbone == backbone:
                by_method.setdefault(result.method, []).append(result)
        base = by_method.pop('base')
        gains = {
            method: compare(base, runs)
            for method, runs in by_method.items()
            if not method.startswith('teacher')
        }
        figure = plot_gains(gains)
        figure.savefig(folder / f'ablation_{backbone}.png', dpi=150)
        lines += [f'![Gains over the base](ablation_{backbone}.png)', '']
        tested = {
            method: gain.p_users
            for method, gain in gains.items()
            if gain.p_users is not None
        }
        adjusted = zip(tested, holm(list(tested.values())), strict=True)
        lines += [
            f'{backbone}, p over users, adjusted by Holm for their number:',
            '',
        ]
        lines += [f'- {method}: {p:.2g}' for method, p in adjusted]
        lines.append('')
    path = folder / 'ablation.md'
    path.write_text('\n'.join(lines))
    console.print(f'Report: {path}')


class Ablation(Benchmark):
    """Runs variants of CKD and what they are compared with."""

    def cells(self) -> Iterator[Cell]:
        """Yield the base, the teachers, CKD and the variants of each seed."""
        methods = [
            'base',
            *(f'teacher({m})' for m in modalities(self.data(None))),
        ]
        methods.append('ckd')
        for name in self.args.variant:
            methods.append(
                {'longer': 'base[longer]', 'ensemble': 'ensemble'}.get(
                    name, f'ckd[{name}]'
                )
            )
        for backbone in self.args.backbone:
            for seed in self.args.seed:
                for method in methods:
                    yield backbone, method, seed

    def run(self, cell: Cell, show: Callback) -> None:
        """Train a cell, or put the teachers' scores together."""
        backbone, method, seed = cell
        if split_method(method)[0] != 'ensemble':
            return super().run(cell, show)
        teachers = self.teachers(backbone, seed).values()
        model = FixedEmbeddings.ensemble([(t.user, t.item) for t in teachers])
        names = modalities(self.data(None))
        return self.save(cell, model, full(names), history=[], seconds=0.0)


if __name__ == '__main__':
    main()
