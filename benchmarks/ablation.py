"""What does the work in CKD: each part left out, changed, or outdone.

    python benchmarks/ablation.py
    python benchmarks/ablation.py --dataset baby --root data --backbone VBPR \
        --variant 'only generic' 'no weights' --seed 0 1 2

Variants of CKD share one base and one set of teachers a seed; some are taught
by others: the base itself, the ensemble of the teachers, or teachers of another
architecture. Beside them stand honest comparators: a student that the base
teaches the full view and no ablated one (born again), the ensemble of the
teachers, a base with the patience to train for longer, and one on standardised
features. Cells are kept and resumed as by `run_all.py`, in the same folder, so
that neither runs again what the other has finished. It ends with a table, and
with `ablation.html`, a page with gains over the base and their intervals.
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
from torch import nn

from pyg_ckd.analysis import Result, compare, holm, report, summarize
from pyg_ckd.balance import Teacher
from pyg_ckd.graph import modalities
from pyg_ckd.inspect import rank_agreement, weights_and_gaps
from pyg_ckd.nn import FixedEmbeddings
from pyg_ckd.transforms import StandardizeModality
from pyg_ckd.views import Keep, full, only

#: Arguments of `CKD` that differ from those in the settings.
CKD_VARIANTS: dict[str, dict[str, Any]] = {
    # Random triples are drawn all the same, as with the base settings:
    'only specific': {'on_random': {'weight': 0.0}},
    'only generic': {'on_batch': None},
    'no weights': {'weights': None},
    'only generic, no weights': {'on_batch': None, 'weights': None},
    'teacher reference': {'weights': {'reference': 'teacher'}},
    'average effect': {'weights': {'effect': 'average'}},
    'average, teacher': {
        'weights': {'effect': 'average', 'reference': 'teacher'}
    },
    'eps 1e-8': {'on_random': {'eps': 1e-8}},
    '1,000 triples': {'on_random': {'num_pairs': 1000}},
    '256 x 32 triples': {'on_random': {'num_pairs': 256, 'group_size': 32}},
    'strength 0.001': {'strength': 0.001},
    'strength 0.003': {'strength': 0.003},
    'strength 0.01': {'strength': 0.01},
    'strength 0.03': {'strength': 0.03},
    'strength 0.1': {'strength': 0.1},
    'strength 0.3': {'strength': 0.3},
    'gamma 1': {'on_random': {'weight': 1.0}},
    'gamma 20': {'on_random': {'weight': 20.0}},
    'tau 0.05': {'on_random': {'tau': 0.05}},
    'tau 0.2': {'on_random': {'tau': 0.2}},
    'tau 1': {'on_random': {'tau': 1.0}},
    'gate': {'gate': True},
}
#: Who teaches instead of models of the same class, each trained on a modality.
TEACHERS = {
    'self-distilled': 'base',
    'born again': 'base',
    'taught by ensemble': 'ensemble',
    'taught by VBPR': 'VBPR',
    'taught by LightGCN': 'LightGCN',
    'taught by FREEDOM': 'FREEDOM',
}
VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {'ckd': changes} for name, changes in CKD_VARIANTS.items()},
    **{name: {'teachers': {'of': source}} for name, source in TEACHERS.items()},
    'born again': {  # the base teaches the full view, and no other
        'teachers': {'of': 'base'},
        'ckd': {'on_batch': None, 'weights': None},
    },
    'longer': {'fit': {'patience': 40}},  # instead of 10
    'standardized': {},  # by a transform
}
CHOICES = [*VARIANTS, 'ensemble']


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    folder = args.results / (args.run or args.dataset)
    folder.mkdir(parents=True, exist_ok=True)
    bench = Ablation(args, folder, VARIANTS)
    standardized = Ablation(args, folder, VARIANTS, StandardizeModality())
    console = Console()
    found: dict[str, Result] = {}
    for part, cells in (
        (bench, list(bench.cells())),
        (standardized, list(standardized.cells_on_other_data())),
    ):
        run_cells(part, cells, console)
        keys = map(part.key, cells)
        found |= {key: part.finished[key] for key in keys}
    order = [*args.backbone, *BACKBONES]
    results = sorted(found.values(), key=lambda run: order.index(run.backbone))

    console.print(terminal_table(summarize(results), f'{args.dataset}, test'))
    notes = [
        note
        for backbone in args.backbone
        for note in notes_on([r for r in results if r.backbone == backbone])
    ]
    for note in notes:
        console.print(note, markup=False, highlight=False)
    page = report(
        results,
        folder / 'ablation.html',
        title=f'Ablation on {args.dataset}',
        about=[*bench.about(), *notes],
        data=bench.data(None),
    )
    console.print(f'Report: {page}')


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Ablations of CKD.')
    add_arguments(parser, backbones=BACKBONES, default=['VBPR'])
    parser.add_argument(
        '--variant', nargs='*', default=CHOICES, choices=CHOICES
    )
    return parser.parse_args(argv)


def method_of(variant: str) -> str:
    """Return the method that a variant is one of."""
    if variant == 'ensemble':
        return variant
    kind = 'base' if variant in ('longer', 'standardized') else 'ckd'
    return f'{kind}[{variant}]'


def notes_on(results: list[Result]) -> list[str]:
    """Return what the report does not say of a backbone by itself."""
    runs: dict[str, list[Result]] = {}
    for result in results:
        runs.setdefault(result.method, []).append(result)
    gains = {
        method: compare(runs['base'], own)
        for method, own in runs.items()
        if own[0].compared
    }
    tested = {
        method: gain.p_users
        for method, gain in gains.items()
        if gain.p_users is not None
    }
    adjusted = zip(tested, holm(list(tested.values())), strict=True)
    values = ', '.join(f'{method} {p:.2g}' for method, p in adjusted)
    backbone = results[0].backbone
    return [
        f'{backbone}, p over users, adjusted by Holm for their number: '
        f'{values}.',
        f'{backbone}, rank correlation over checkpoints of the weight of a '
        f'modality and its gap to the teacher, 1 if weights go to where the '
        f'gap is large: {"; ".join(agreements(runs))}.',
    ]


def agreements(runs: dict[str, list[Result]]) -> list[str]:
    """Return how well the weights of CKD follow the gaps, a text a seed."""
    lines = []
    for run in runs['ckd']:
        level = {
            method.removeprefix('teacher(').rstrip(')'): own.val['recall@20']
            for method, teachers in runs.items()
            for own in teachers
            if method.startswith('teacher') and own.seed == run.seed
        }
        found = rank_agreement(*weights_and_gaps(run.history, level))
        numbers = ', '.join(
            f'{name} {"-" if value is None else format(value, "+.2f")}'
            for name, value in found.items()
        )
        lines.append(
            f'seed {run.seed}, {len(run.history)} checkpoints: {numbers}'
        )
    return lines


class Ablation(Benchmark):
    """Runs variants of CKD and what they are compared with."""

    def cells(self) -> Iterator[Cell]:
        """Yield the base, the teachers, CKD and the variants of each seed."""
        names = modalities(self.data(None))
        for backbone in self.args.backbone:
            for seed in self.args.seed:
                yield backbone, 'base', seed
                for m in names:
                    yield backbone, f'teacher({m})', seed
                yield backbone, 'ckd', seed
                for variant in self.args.variant:
                    source = TEACHERS.get(variant)
                    if source in BACKBONES and source != backbone:
                        for m in names:
                            yield source, f'teacher({m})', seed
                    if variant != 'standardized':
                        yield backbone, method_of(variant), seed

    def cells_on_other_data(self) -> Iterator[Cell]:
        """Yield the bases on standardised features."""
        if 'standardized' in self.args.variant:
            for backbone in self.args.backbone:
                for seed in self.args.seed:
                    yield backbone, method_of('standardized'), seed

    def done(self, cell: Cell) -> bool:
        """Return whether the cell was finished before, and what it taught."""
        needed = cell[1] == 'base' and any(
            TEACHERS.get(variant) == 'base' for variant in self.args.variant
        )
        lost = needed and not self.teacher_path(*cell).exists()
        return super().done(cell) and not lost

    def run(self, cell: Cell, show: Callback) -> None:
        """Train a cell, or put the teachers' scores together."""
        if cell[1] != 'ensemble':
            return super().run(cell, show)
        teachers = self.teachers(cell).values()
        model = FixedEmbeddings.ensemble([(t.user, t.item) for t in teachers])
        keep = full(modalities(self.data(None)))
        return self.save(cell, model, keep, history=[], seconds=0.0)

    def save(
        self, cell: Cell, model: nn.Module, *args: Any, **kwargs: Any
    ) -> None:
        """Keep the embeddings of a base, which may teach, beside the result."""
        backbone, method, _ = cell
        if method == 'base':
            teacher = Teacher.from_model(model, self.data(backbone))
            teacher.save(self.teacher_path(*cell))
        super().save(cell, model, *args, **kwargs)

    def teachers(self, cell: Cell) -> dict[Keep, Teacher]:
        """Return the teachers of a cell, with the spread of its own ones."""
        backbone, method, seed = cell
        _, variant = split_method(method)
        source = TEACHERS.get(variant, backbone)
        if source == 'base':
            base = Teacher.load(self.teacher_path(backbone, 'base', seed))
            names = modalities(self.data(None))
            if variant == 'born again':
                return {full(names): base}
            return {only(m): base for m in names}
        own = super().teachers(cell)
        if source == backbone:
            return own
        if source == 'ensemble':
            scaled = [teacher.rescaled(1.0) for teacher in own.values()]
            others = dict.fromkeys(own, Teacher.average(scaled))
        else:
            others = super().teachers((source, method, seed))
        return {keep: others[keep].rescaled(own[keep].spread) for keep in own}


if __name__ == '__main__':
    main()
