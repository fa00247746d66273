"""The command ``pyg-ckd``, which is ``python -m pyg_ckd.datasets``, too."""

from __future__ import annotations

import os.path as osp
from argparse import ArgumentParser

from pyg_ckd.datasets._describe import describe
from pyg_ckd.datasets._open_dataset import open_dataset


def main() -> None:
    """Run the command that is given in the shell."""
    parser = ArgumentParser('pyg-ckd')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    command = commands.add_parser('describe', help='print statistics')
    add = command.add_argument
    add(
        'name',
        metavar='NAME',
        help='a folder, by its path or below ROOT, or a category',
    )
    add('--root', help='(default: datasets)')
    add('--processed-root', help='where to keep results (default: ROOT)')
    add('--core', type=int, help="of LATTICE's folders, if there are several")
    args = parser.parse_args()

    path = args.name
    if args.root is not None or not (osp.dirname(path) or osp.isdir(path)):
        path = osp.join(args.root or 'datasets', path)
    root, name = osp.split(osp.abspath(osp.expanduser(path)))

    options = {} if args.core is None else {'core': args.core}
    try:
        dataset = open_dataset(
            root, name, processed_root=args.processed_root, **options
        )
        describe(dataset[0], title=name)
    except (ValueError, OSError, ImportError) as error:
        message = ' '.join(str(error).splitlines())
        parser.exit(1, f'{parser.prog}: error: {message}\n')


if __name__ == '__main__':
    main()
