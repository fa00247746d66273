"""What does the work in CKD: each part left out, changed, or outdone.

    python benchmarks/ablation.py
    python benchmarks/ablation.py --dataset baby --root data --backbone VBPR \
        --variant 'only generic' 'no weights' --seed 0 1 2

Variants of CKD share one base and one set of teachers a seed; some are taught
by others: the base itself, the ensemble of the teachers, or teachers of another
backbone. Beside them stand honest comparators: a student that the base teaches
the full view and no ablated one (born again), the ensemble of the teachers, a
base with the patience to train for longer, on standardised features, with an
item bias, or with NLGCL.
Results are kept in the folder of the data set, so that nothing is trained
again that is there. It ends with a table, and with `ablation.html`, a page with
gains over the base and their intervals.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from common import add_arguments, experiment_of, run_shown, status
from variants import VARIANTS

from pyg_ckd.experiments import BACKBONES, METHODS, Result, report
from pyg_ckd.experiments.cli.output import tables
from pyg_ckd.experiments.cli.table import terminal_table
from pyg_ckd.experiments.tables import comparisons
from pyg_ckd.inspect import rank_agreement, weights_and_gaps


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Ablations of CKD.')
    add_arguments(parser)
    parser.add_argument(
        '--variant', nargs='*', default=list(VARIANTS), choices=VARIANTS
    )
    args = parser.parse_args(argv)
    methods = [METHODS[name] for name in ('base', 'teachers', 'ckd')]
    methods += [VARIANTS[name] for name in args.variant]
    experiment = experiment_of(args)
    results = run_shown(experiment, args, methods)
    order = [*args.backbone, *BACKBONES]
    results.sort(key=lambda result: order.index(result.run.backbone))

    against = comparisons(results)
    title = f'{args.dataset}, test'
    tables().print(terminal_table(results, title, against))
    notes = agreements(results)
    for note in notes:
        tables().print(note, soft_wrap=True)
    page = report(
        results,
        experiment.store.folder / 'ablation.html',
        title=f'Ablation on {args.dataset}',
        about=[*experiment.about(), *notes],
        data=experiment.data(),
        problems=experiment.store.problems,
        against=against,
    )
    tables().print(f'Report: {page}', soft_wrap=True)
    return status(results)


def agreements(results: Iterable[Result]) -> list[str]:
    """Return how well the weights of CKD follow the gaps, if it was run."""
    good = [result for result in results if not result.error]
    levels: dict[tuple[str, int], dict[str, float]] = {}
    for teacher in good:
        run = teacher.run
        if run.method.kind == 'teacher':
            level = levels.setdefault((run.backbone, run.seed), {})
            level[run.method.modality] = teacher.val['recall@20']
    lines = []
    for ckd in good:
        run, history = ckd.run, ckd.history
        if run.method == METHODS['ckd']:
            level = levels[run.backbone, run.seed]
            found = rank_agreement(*weights_and_gaps(history, level))
            numbers = ', '.join(
                f'{name} {"-" if value is None else format(value, "+.2f")}'
                for name, value in found.items()
            )
            lines.append(f'{run}, {len(history)} checkpoints: {numbers}')
    what = (
        'Rank correlation over checkpoints of the weight of a modality and its '
        'gap to the teacher, 1 if weights go to where the gap is large: '
    )
    return [f'{what}{"; ".join(lines)}.'] if lines else []


if __name__ == '__main__':
    sys.exit(main())
