"""The best that can be made of models that are trained: an ensemble.

    python benchmarks/best.py --dataset baby --root data --seed 0

Takes all bases and students in the folder of results whose embeddings are kept,
brings their scores to one spread, and adds them up: first the model with the
best validation Recall@20, then, one after the other and some more than once,
whichever raises that of the sum most, as in "Ensemble Selection from Libraries
of Models" (Caruana et al., ICML 2004). Test is read once, for the last sum. The
result joins the others, as the backbone `Ensemble`.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from common import add_arguments, experiment_of, status
from torch_geometric.data import HeteroData

from pyg_ckd.balance import Teacher
from pyg_ckd.experiments import Method, Result, Run
from pyg_ckd.experiments.backbones import BASELINES
from pyg_ckd.experiments.cli.output import tables
from pyg_ckd.experiments.cli.table import terminal_table
from pyg_ckd.experiments.environment import environment
from pyg_ckd.experiments.experiment import metrics_of
from pyg_ckd.metrics import hits, per_user
from pyg_ckd.nn import FixedEmbeddings
from pyg_ckd.ranking import evaluate, rank

METHOD = Method('ensemble', name='chosen by validation')


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='An ensemble of models.')
    add_arguments(parser)
    parser.add_argument(
        '--most', default=10, type=int, help='how many are added up'
    )
    args = parser.parse_args(argv)
    experiment = experiment_of(args)
    data, store = experiment.data(), experiment.store
    results = []
    for seed in args.seed:
        library = {
            result.run: Teacher.load(store.embeddings(result.run.key))
            for result in store.results()
            if result.run.seed == seed
            and result.run.data == experiment.fingerprint
            and result.run.method.kind in ('base', 'student')
            and result.run.backbone not in BASELINES
            and not result.error
            and store.embeddings(result.run.key).exists()
        }
        library = {run: t.rescaled(1.0) for run, t in library.items()}
        if library:
            results.append(chosen(library, data, args.most))
            store.save(results[-1])
    tables().print(terminal_table(results, f'{args.dataset}, test'))
    return status(results)


def chosen(library: dict[Run, Teacher], data: HeteroData, most: int) -> Result:
    """Return what the sum of models chosen by validation gives."""
    picked: list[Run] = []
    level = 0.0
    while len(picked) < most:
        tried = {
            run: validated([library[one] for one in (*picked, run)], data)
            for run in library
        }
        best = max(tried, key=tried.__getitem__)
        if tried[best] <= level:
            break
        picked, level = [*picked, best], tried[best]
        tables().print(f'{level:.4f} with {best}')
    ensemble = summed([library[run] for run in picked])
    ranking = rank(ensemble, data, 'test', k=20)
    times = Counter(str(run) for run in picked)
    run = Run(
        picked[0].dataset,
        'Ensemble',
        METHOD,
        picked[0].seed,
        {'weights': dict(times)},
        picked[0].data,
        tuple(dict.fromkeys(run.key for run in picked)),
    )
    return Result(
        run,
        test={'full': metrics_of(ranking)},
        val=evaluate(ensemble, data, 'val'),
        environment=environment(ranking.item.device),
        users={
            **per_user(ranking, metrics=('recall', 'ndcg')),
            **per_user(ranking, (20,), ('tail_recall',)),
        },
        hits=hits(ranking),
    )


def summed(teachers: list[Teacher]) -> FixedEmbeddings:
    """Return a recommender whose scores are the sum of others."""
    return FixedEmbeddings.ensemble([(t.user, t.item) for t in teachers])


def validated(teachers: list[Teacher], data: HeteroData) -> float:
    """Return the validation Recall@20 of the sum of models."""
    found = evaluate(
        summed(teachers), data, 'val', ks=(20,), metrics=('recall',)
    )
    return found['recall@20']


if __name__ == '__main__':
    sys.exit(main())
