"""The command ``pyg-ckd``, which is ``python -m pyg_ckd``, too.

Only what reads arguments is imported at first, so that help comes at once.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyg_ckd._version import __version__
from pyg_ckd.experiments.cli import (
    describe,
    export,
    recommend,
    report,
    run,
    serve,
    tune,
)

EPILOG = """\
examples:
  pyg-ckd run                            a synthetic data set, a few minutes
  pyg-ckd describe datasets/baby         what is in a data set
  pyg-ckd run --dataset baby             train, compare, and write a page
  pyg-ckd run --help                     all arguments, and how to share a grid

exit status: 0 if all went well, 1 if a run failed, 2 if an argument or a file
is wrong, 130 after Ctrl+C, 143 when the system ends it. Tables are written to
the standard output, progress and messages to the error output.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that is given in the shell, and return its exit status.

    Args:
        argv: The arguments. (default: those of the process)

    Returns:
        0 if all went well, 1 if a run failed, 2 if an argument or a file is
        wrong, 130 after Ctrl+C, and 143 if the system ends it (SIGTERM), as
        SLURM does at a limit of time.

    Example:
        >>> main(['run', '--seed', 'one'])
        2
    """
    try:
        args = _parser().parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    # Torch reads it at its first allocation: huge pages for large tables.
    os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
    try:
        with _ended_by_system():
            return int(args.call(args))
    except KeyboardInterrupt:
        _say('interrupted' + args.after_interrupt)
        return 130
    except _Ended:
        _say('ended by the system' + args.after_interrupt)
        return 143
    except (ValueError, OSError, ImportError) as error:
        if isinstance(error, ModuleNotFoundError) and 'pyg_ckd' in str(error):
            raise  # the user cannot have caused it
        _say('error: ' + re.sub(r'^\[Errno \d+\] ', '', str(error)))
        return 2


class _Ended(BaseException):
    """The system has asked the process to end."""


@contextmanager
def _ended_by_system() -> Iterator[None]:
    """Turn SIGTERM, and what Lightning makes of it, into an exception."""

    def end(*_: object) -> None:
        raise _Ended

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, end) if is_main else None
    try:
        yield
    except SystemExit as error:
        raise _Ended from error
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        'pyg-ckd',
        description='Multimodal recommenders, and whether their modalities '
        'are in balance.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--version', action='version', version=f'pyg-ckd {__version__}'
    )
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    for command in (run, tune, report, describe, recommend, export, serve):
        command.add_to(commands)
    return parser


def _say(message: str) -> None:
    print(f'pyg-ckd: {" ".join(message.splitlines())}', file=sys.stderr)
