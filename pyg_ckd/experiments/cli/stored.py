"""The recommender that a finished run has left, or a saved one."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from pyg_ckd.experiments.cli.arguments import (
    add_dataset,
    add_folder,
    add_objective,
    experiment_of,
    method_of,
    place_of,
    positive_number,
    store_of,
)
from pyg_ckd.experiments.cli.output import messages
from pyg_ckd.experiments.names import BACKBONES, METHODS

if TYPE_CHECKING:
    from pyg_ckd.experiments import Experiment, Result
    from pyg_ckd.serving import Served


#: What tells a run from others, and by default.
OF_RUN = {
    'dataset': 'fake',
    'method': 'base',
    'objective': '',
    'seed': 0,
    'key': '',
}


def add_stored(parser: ArgumentParser) -> None:
    """Add the arguments that say which run, and how many items."""
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        '--model',
        metavar='FOLDER',
        help='a saved model, in place of a run',
    )
    add_dataset(parser)
    add_folder(parser)
    which.add_argument(
        '--backbone',
        choices=BACKBONES,
        metavar='NAME',
        help=f'one of {", ".join(BACKBONES)}',
    )
    methods = [name for name in METHODS if name != 'teachers']
    add(
        '--method',
        default='base',
        choices=methods,
        metavar='NAME',
        help=f'one of {", ".join(methods)} (default: base)',
    )
    add_objective(parser)
    add('--seed', default=0, type=int, metavar='N', help='(default: 0)')
    add(
        '--key',
        default='',
        help='the run itself, by how its key begins, where several differ in '
        'settings (default: the one that was finished last)',
    )
    add(
        '-k',
        default=10,
        type=positive_number,
        metavar='N',
        help='how many items for each user (default: 10)',
    )
    add(
        '--view',
        metavar='NAME',
        help="what to look at, such as 'only(text)' (default: all that the "
        'model was trained with)',
    )


def stored(args: Namespace) -> Served:
    """Return what serves a saved model, or the recommender of a run.

    Of several runs that differ in settings, the one that was finished last
    counts.

    Raises:
        ValueError: If the run is not finished, or has failed.
    """
    from pyg_ckd.balance import Teacher
    from pyg_ckd.nn import FixedEmbeddings
    from pyg_ckd.serving import Served, load

    if args.model:
        for name, default in OF_RUN.items():
            if getattr(args, name) != default:
                raise ValueError(
                    f"'--{name}' is that of a run, and '--model' is a saved "
                    f'model: leave one out'
                )
        return load(args.model)
    experiment = experiment_of(args, store_of(args))
    data = experiment.data()
    result = _latest(args, experiment)
    teacher = Teacher.load(experiment.store.embeddings(result.run.key))
    model = FixedEmbeddings(teacher.user, teacher.item)
    return Served.from_model(model, data)


def _latest(args: Namespace, experiment: Experiment) -> Result:
    method = method_of(args.method, args.objective)
    store = experiment.store
    found = [
        result
        for result in store.results()
        if result.run.dataset == args.dataset
        and result.run.backbone == args.backbone
        and result.run.method.same_as(method)
        and result.run.seed == args.seed
        and result.run.key.startswith(args.key)
    ]
    here = [r for r in found if r.run.data == experiment.fingerprint]
    good = [r for r in here if not r.error]
    kept = [r for r in good if store.embeddings(r.run.key).is_file()]
    name = f'{args.backbone} {method} {args.seed}'
    where = f"of '{args.dataset}' in '{store.folder}'"
    if not kept:
        command = _command(args)
        if good:
            reason = f"'{store.embeddings(good[-1].run.key)}' is missing"
            command = f'{command} --retry'
        elif here:
            reason = f'it failed ({here[-1].error})'
            command = f'{command} --retry'
        elif found:
            reason = 'it was trained on other data of that name'
        else:
            reason = 'it is not finished'
        raise ValueError(
            f"'{name}' {where} has no embeddings: {reason}; train it by: "
            f'{command}'
        )
    if len(kept) > 1:
        messages().print(
            f"note: there are {len(kept)} runs '{name}' {where}, with other "
            f'settings each; the last one is used, --key tells them apart: '
            f'{", ".join(r.run.key for r in kept)}'
        )
    return kept[-1]


def _command(args: Namespace) -> str:
    """Return the command that trains the run."""
    words = ['pyg-ckd', 'run', *place_of(args)]
    words += ['--backbone', args.backbone, '--method', args.method]
    words += ['--objective', args.objective] if args.objective else []
    return shlex.join([*words, '--seed', str(args.seed)])
