"""Arguments that commands share, and what they stand for."""

from __future__ import annotations

from argparse import (
    Action,
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_ckd.experiments.names import OBJECTIVES

if TYPE_CHECKING:
    from pyg_ckd.experiments import Experiment, Method, Store


def add_parser(
    commands: Any,
    name: str,
    help: str,
    description: str,
    epilog: str,
    after_interrupt: str = '',
) -> ArgumentParser:
    """Return the parser of a new command.

    Args:
        commands: Where it is added.
        name: Its name.
        help: What the list of commands says of it.
        description: What its own help begins with.
        epilog: What its own help ends with.
        after_interrupt: What Ctrl+C adds to ``interrupted``.
    """
    parser: ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=epilog,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(after_interrupt=after_interrupt)
    return parser


class FolderOrName(Action):
    """Takes a data set by its name, or by the path of its folder."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Split a path into the name and where it is."""
        path = Path(str(values)).expanduser().absolute()
        if Path(str(values)).name != str(values):
            namespace.root = path.parent
        setattr(namespace, self.dest, path.name)


def add_dataset(parser: ArgumentParser, default: str | None = 'fake') -> None:
    """Add the arguments that name a data set."""
    shown = f' (default: {default})' if default else ''
    parser.add_argument(
        '--dataset',
        default=default,
        action=FolderOrName,
        metavar='NAME',
        help="'fake', 'fake3' with three modalities, a folder or a category "
        f'below ROOT, or the path of a folder{shown}',
    )
    parser.add_argument(
        '--root',
        default=Path('datasets'),
        type=Path,
        help='where data sets are (default: datasets)',
    )


def add_folder(parser: ArgumentParser) -> None:
    """Add the arguments that name a folder of results."""
    parser.add_argument(
        '--results',
        default=Path('results'),
        type=Path,
        metavar='FOLDER',
        help='where results are (default: results)',
    )
    parser.add_argument(
        '--run',
        metavar='NAME',
        help='the folder below that (default: the name of the data set)',
    )


def add_training(parser: ArgumentParser) -> None:
    """Add the arguments of training."""
    parser.add_argument(
        '--device',
        default='auto',
        choices=('auto', 'cpu', 'cuda'),
        help='where to train (default: auto)',
    )
    parser.add_argument(
        '--max-epochs',
        default=1000,
        type=positive_number,
        metavar='N',
        help='the largest number of epochs, where the settings name none '
        '(default: 1000)',
    )
    parser.add_argument(
        '--settings',
        type=existing_file,
        metavar='FILE',
        help='a TOML file of settings; what it has no table of has the '
        'settings of the library',
    )


def add_objective(parser: ArgumentParser) -> None:
    """Add the argument that names an objective."""
    parser.add_argument(
        '--objective',
        default='',
        choices=OBJECTIVES,
        help="what all methods minimise (default: the backbone's own loss, or "
        'else BPR)',
    )


def add_json(parser: ArgumentParser, what: str) -> None:
    """Add the argument that asks for JSON.

    Args:
        parser: Where it is added.
        what: What is written.
    """
    parser.add_argument(
        '--json',
        action='store_true',
        help=f'write {what} as JSON to the standard output, and nothing else',
    )


def positive_number(text: str) -> int:
    """Return a positive whole number of the shell.

    Example:
        >>> positive_number('3')
        3
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError(f"needs to be a positive number (got '{text}')")
    return number


def existing_file(text: str) -> Path:
    """Return the path of a file of the shell."""
    if not Path(text).is_file():
        raise ArgumentTypeError(f"needs to be a file (got '{text}')")
    return Path(text)


def folder_of(args: Namespace) -> Path:
    """Return the folder of results.

    Raises:
        ValueError: If its name is that of another folder.
    """
    name = args.run or args.dataset
    if name in ('data', '.', '..') or len(Path(name).parts) != 1:
        raise ValueError(
            f"'--run' needs to be the name of a folder in '{args.results}', "
            f"other than 'data', which holds processed data (got '{name}')"
        )
    return Path(args.results, name)


def place_of(args: Namespace) -> list[str]:
    """Return the words that name the same data set and folder, in short."""
    words = [
        ('--dataset', args.dataset, 'fake'),
        ('--root', str(args.root), 'datasets'),
        ('--results', str(args.results), 'results'),
        ('--run', args.run, None),
    ]
    return [
        word
        for name, value, default in words
        if value != default
        for word in (name, value)
    ]


def store_of(args: Namespace) -> Store:
    """Return the store in the folder of results."""
    from pyg_ckd.experiments import Store

    return Store(folder_of(args))


def experiment_of(args: Namespace, store: Store) -> Experiment:
    """Return the experiment on the data set, as far as it is described.

    Raises:
        ValueError: If the settings are wrong, or there is no such device.
    """
    from pyg_ckd.experiments import Experiment, Settings
    from pyg_ckd.experiments.data_sets import opener

    training = {}
    if 'device' in args:
        import torch

        if args.device == 'cuda' and not torch.cuda.is_available():
            raise ValueError(
                "'--device cuda' needs a GPU that torch can use, and there is "
                'none here; leave it out'
            )
        training = {'device': args.device, 'max_epochs': args.max_epochs}
    settings, file = Settings.read(), vars(args).get('settings')
    if file:
        settings = Settings.read(file).over(settings)
    return Experiment(
        args.dataset,
        opener(args.dataset, args.root, args.results / 'data'),
        settings,
        store,
        **training,
    )


def method_of(name: str, objective: str) -> Method:
    """Return a method by its name, with an objective.

    Example:
        >>> str(method_of('ckd-gate', 'Softmax')), str(method_of('ckd', ''))
        ('CKD, gate, softmax', 'CKD')
    """
    from dataclasses import replace

    from pyg_ckd.experiments import METHODS
    from pyg_ckd.experiments.method import SPELLED

    method = METHODS[name]
    if not objective:
        return method
    spelled = SPELLED.get(objective, objective)
    label = f'{method.name}, {spelled}' if method.name else ''
    return replace(method, objective=objective, name=label)
