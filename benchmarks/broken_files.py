"""What becomes of files that are broken, or made to deceive?

    python benchmarks/broken_files.py
    python benchmarks/broken_files.py --number 10000 --start 100000
    python benchmarks/broken_files.py --parser CSV Parquet --seed 1

Takes small valid files of each format and changes one of them at random: flips
bits, cuts it, puts in other bytes, repeats or deletes a part of it, joins it
with a part of another file, writes it in UTF-16, or puts in what parsers
stumble over, such as numbers of thousands of digits, null bytes and brackets
without end; of compressed files, every other time what is inside. The files are
then read. They may be refused by a ``ValueError`` or an ``OSError`` whose
message names them, or be read, and then a graph has to pass ``check``; all else
is a failure: any other error, a crash, more than ``--seconds`` or
``--megabytes``, a temporary file that is left, an input file that is changed.
It ends with a table of what happened; the files of each failure are kept in
``--failures``.

Mutation 7 of a seed is the same in each run, so that ``--start 50000`` goes on
after the first 50,000. Ctrl+C ends it with the table of what is done.
"""

from __future__ import annotations

import argparse
import ctypes
import gzip
import io
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch
from broken_corpus import PARSERS
from rich import box
from rich.console import Console
from rich.table import Column, Table
from torch_geometric.data import HeteroData
from tqdm.auto import tqdm

from pyg_ckd.graph import check

#: What parsers stumble over.
TOKENS = [
    *(b'NaN', b'-Infinity', b'1e999', b'-1', b'0', b'1.5', b'9' * 5000),
    *(b'100000000', b'9223372036854775807', b'9223372036854775808', b'1e18'),
    *(b'4294967296', b'true', b'null', b'None', b'', b' ', b'\0', b'\0' * 64),
    *(b'\xef\xbb\xbf', b'\xff\xfe', b'\xed\xa0\x80', b'\\ud800', b'\xff'),
    *(b'"', b"'", b'\\', b',', b'\t', b'\n', b'\r', b'\r\n', b'::', b'{', b'}'),
    *(
        b'[' * 100_000,
        b'{"a":' * 20_000,
        b'(' * 300,
        b'-' * 5000,
        b',' * 20_000,
    ),
    *(b'../../x', b'/etc/passwd', b'%s{0}', b'x' * 100_000, 'é中'.encode()),
    *(b'__import__("os").mkdir("executed")', b'0x' + b'f' * 5000, b'1_000'),
    *(
        b'\xff' * 4,
        b'\xff' * 8,
        b'\x7f' + b'\xff' * 7,
        b'2024-02-30',
        b'PK\3\4',
    ),
]
#: Those that leave most of a file as it is are drawn more often.
KINDS = (
    *('bits', 'token', 'field', 'lines') * 3,
    *('bytes', 'repeat', 'delete', 'cut', 'splice', 'utf-16'),
)
#: Of text, what is between values.
FIELD = re.compile(rb'[\w.+-]+')
TEMPORARY = re.compile(r'\.[0-9a-f]{32}|\.tmp|tmp[0-9a-z_]{8}')
#: Of messages about what files hold together, which name an argument.
ARGUMENT = re.compile("k_core|split=|modality '")


class Outcome(NamedTuple):
    """What became of a mutation."""

    number: int
    parser: str
    #: ``'read'``, ``'refused'``, or what has failed.
    what: str
    seconds: float
    megabytes: float


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Broken files.')
    parser.add_argument('--number', default=100_000, type=int)
    parser.add_argument('--start', default=0, type=int)
    parser.add_argument('--seed', default=0, type=int)
    parser.add_argument('--parser', nargs='+', choices=PARSERS, default=[])
    parser.add_argument('--seconds', default=20.0, type=float)
    parser.add_argument('--megabytes', default=500.0, type=float)
    parser.add_argument('--failures', default='broken_files', type=Path)
    args = parser.parse_args(argv)
    args.failures = args.failures.resolve()
    names = args.parser or list(PARSERS)
    outcomes: Counter[tuple[str, str]] = Counter()
    slowest: Counter[str] = Counter()
    most: Counter[str] = Counter()
    failures: list[str] = []
    begin = time.perf_counter()
    numbers = range(args.start, args.start + args.number)
    with tempfile.TemporaryDirectory() as root, suppress(KeyboardInterrupt):
        fork(write_all, Path(root), names)
        worker = Worker(Path(root), names, args)
        for number in tqdm(numbers, desc='Reading', leave=False, disable=None):
            found = worker.try_one(number)
            name, what = found.parser, found.what
            if what not in ('read', 'refused'):
                failures.append(f'{name}, mutation {number}: {what}')
                what = 'failures'
            outcomes[name, what] += 1
            slowest[name] = max(slowest[name], round(1e3 * found.seconds))
            most[name] = max(most[name], round(found.megabytes))
        worker.stop()
    done = sum(outcomes.values())
    seconds = time.perf_counter() - begin

    columns = ('read', 'refused', 'failures')
    table = Table(
        Column('parser', no_wrap=True),
        *('mutations', *columns, 'slowest, ms', 'most, MB'),
        box=box.SIMPLE_HEAD,
        show_edge=False,
    )
    for name in names:
        counts = [outcomes[name, column] for column in columns]
        figures = (sum(counts), *counts, slowest[name], most[name])
        table.add_row(name, *(f'{figure:,}' for figure in figures))
    console = Console()
    console.print(table)
    console.print(
        f'{done:,} mutations from {args.start:,} on, seed {args.seed}, '
        f'{1e3 * seconds / max(done, 1):.1f} ms each'
    )
    for failure in failures[:50]:
        console.print(failure, soft_wrap=True, markup=False)
    return 1 if failures else 0


class Worker:
    """A process that reads one mutation after the other, made anew if it dies.

    Args:
        root: Where the valid files are.
        names: The parsers.
        args: The arguments of the script.
    """

    def __init__(
        self, root: Path, names: Sequence[str], args: argparse.Namespace
    ) -> None:
        self.root, self.names, self.args = root, names, args
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context('fork')
        self.here, there = context.Pipe()
        self.process = context.Process(
            target=work,
            args=(self.here, there, self.root, self.names, self.args),
            daemon=True,
        )
        self.process.start()
        there.close()
        self.here.recv()  # Once all is loaded.

    def try_one(self, number: int) -> Outcome:
        """Return what becomes of a mutation."""
        self.here.send(number)
        reason = f'more than {self.args.seconds} seconds'
        if self.here.poll(2 * self.args.seconds):
            try:
                return self.here.recv()
            except (EOFError, ConnectionError):
                self.process.join()
                reason = f'ended with {self.process.exitcode}'
        self.process.kill()
        self.process.join()
        self._start()
        name = self.names[number % len(self.names)]
        keep(self.root, name, number, self.args, reason)
        return Outcome(number, name, reason, self.args.seconds, 0)

    def stop(self) -> None:
        """End the process."""
        self.here.send(None)
        self.process.join()


def work(
    here: Connection,
    pipe: Connection,
    root: Path,
    names: Sequence[str],
    args: argparse.Namespace,
) -> None:
    """Read mutations until there are no more."""
    here.close()  # Or this end would not notice that the other has gone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    folder = root / 'work'
    for name in names:  # So that nothing is loaded while time is measured.
        copy(root / 'valid' / name, folder)
        if read(name, folder) != 'read':
            sys.exit(f'The valid files of {name} could not be read')
    limit = int(1e6 * args.megabytes) + size_of_process()
    resource.setrlimit(resource.RLIMIT_AS, (4 * limit, 4 * limit))
    os.chdir(root)
    pipe.send(None)
    with suppress(EOFError):
        while (number := pipe.recv()) is not None:
            name = names[number % len(names)]
            outcome = tried(root, name, number, args)
            if outcome.what not in ('read', 'refused'):
                keep(root, name, number, args, outcome.what)
            pipe.send(outcome)


def tried(
    root: Path, name: str, number: int, args: argparse.Namespace
) -> Outcome:
    """Return what becomes of a mutation."""
    folder = root / 'work'
    copy(root / 'valid' / name, folder)
    mutate(
        root / 'valid', folder, random.Random(f'{args.seed} {name} {number}')
    )
    before = contents(folder)
    memory, begin = reset_peak(), time.perf_counter()
    what = read(name, folder)
    seconds = time.perf_counter() - begin
    megabytes = max(peak() - memory, 0)
    if seconds > args.seconds:
        what = f'{seconds:.0f} seconds'
    elif megabytes > args.megabytes:
        what = f'{megabytes:.0f} MB'
    after = contents(folder)
    for path, content in before.items():
        if (
            after.get(path) != content
            and path.name not in PARSERS[name].changes
        ):
            what = f'{path.name} was changed'
    left = [path.name for path in after if TEMPORARY.search(path.name)]
    if left:
        what = f'{left[0]} was left'
    if (root / 'executed').exists():
        what = 'executed what it has read'
    return Outcome(number, name, what, seconds, megabytes)


def read(name: str, folder: Path) -> str:
    """Read files, and return what it comes to."""
    try:
        made = PARSERS[name].read(folder)
    except (ValueError, OSError) as error:
        message = str(error)
        if str(folder) in message or ARGUMENT.search(message):
            return 'refused'
        return f'does not name the file: {type(error).__name__}: {message}'
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f'{Path(last.filename).name}:{last.lineno}'
        return f'{type(error).__name__} in {where}: {str(error)[:300]}'
    if isinstance(made, HeteroData):
        try:
            check(made)
        except ValueError as error:
            return f'is read, and refused by check: {error}'
    return 'read'


def mutate(valid: Path, folder: Path, draw: random.Random) -> None:
    """Change one file of a folder."""
    path = draw.choice(sorted(x for x in folder.rglob('*') if x.is_file()))
    content = path.read_bytes()
    is_inside = draw.random() < 0.5
    if is_inside and path.suffix == '.gz':
        changed = gzip.compress(
            change(gzip.decompress(content), valid, draw), mtime=0
        )
    elif is_inside and path.suffix == '.zip':
        changed = change_member(content, valid, draw)
    else:
        changed = change(content, valid, draw)
    path.write_bytes(changed)


def change_member(content: bytes, valid: Path, draw: random.Random) -> bytes:
    """Change a file of an archive."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(out, 'w') as new,
    ):
        infos = old.infolist()
        chosen = draw.choice(infos)
        for info in infos:
            part = old.read(info)
            if info is chosen:
                part = change(part, valid, draw)
            new.writestr(info, part)
    return out.getvalue()


def change(content: bytes, valid: Path, draw: random.Random) -> bytes:
    """Return a content with some changes."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = changed_once(content, draw.choice(KINDS), valid, draw)
    return content


def changed_once(
    content: bytes, kind: str, valid: Path, draw: random.Random
) -> bytes:
    raw = bytearray(content or b'0')
    start, length = draw.randrange(len(raw)), draw.randrange(1, 64)
    if draw.random() < 0.3:  # Where headers are.
        start = min(start, draw.randrange(64))
    part = raw[start : start + length]
    if kind == 'bits':
        for _ in range(draw.randrange(1, 5)):
            raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    elif kind == 'cut':
        del raw[start:]
    elif kind == 'bytes':
        raw[start : start + length] = draw.randbytes(length)
    elif kind == 'repeat':
        raw[start:start] = part * draw.randrange(1, 20)
    elif kind == 'delete':
        del raw[start : start + length]
    elif kind == 'splice':
        files = sorted(x for x in valid.rglob('*') if x.is_file())
        other = draw.choice(files).read_bytes()
        raw[start:] = other[draw.randrange(len(other)) :]
    elif kind == 'token':
        raw[start : start + draw.choice((0, 1, 8))] = draw.choice(TOKENS)
    elif kind == 'field':
        fields = list(FIELD.finditer(raw))
        if fields:
            begin, end = draw.choice(fields).span()
            raw[begin:end] = draw.choice(TOKENS)
    elif kind == 'lines':
        lines = bytes(raw).splitlines(keepends=True)
        lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
        del lines[draw.randrange(len(lines))]
        raw = bytearray(b''.join(lines))
    else:
        raw = bytearray(raw.decode('latin-1').encode('utf-16'))
    return bytes(raw)


def write_all(root: Path, names: Sequence[str]) -> None:
    """Write the valid files of parsers."""
    for name in names:
        folder = root / 'work'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        PARSERS[name].write(folder)
        copy(folder, root / 'valid' / name)


def fork(call: Callable[..., object], *args: object) -> None:
    """Call a function in a process of its own, whose threads end with it."""
    process = multiprocessing.get_context('fork').Process(
        target=call, args=args
    )
    process.start()
    process.join()
    if process.exitcode:
        sys.exit('The valid files could not be written')


def copy(source: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)


def contents(folder: Path) -> dict[Path, bytes]:
    return {x: x.read_bytes() for x in folder.rglob('*') if x.is_file()}


def keep(
    root: Path, name: str, number: int, args: argparse.Namespace, what: str
) -> None:
    """Keep the files of a failure."""
    # Made anew, as they may have been changed:
    folder = root / 'kept'
    copy(root / 'valid' / name, folder)
    mutate(
        root / 'valid', folder, random.Random(f'{args.seed} {name} {number}')
    )
    kept = args.failures / f'{name} {args.seed} {number}'
    copy(folder, kept)
    (kept / 'failure.txt').write_text(what, errors='backslashreplace')


def size_of_process() -> int:
    """Return the bytes of addresses that the process has."""
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    return pages * resource.getpagesize()


def reset_peak() -> float:
    """Forget the most memory used so far, and return what is used, in MB.

    What was freed is given back first: taken again, it would not be seen.
    """
    with suppress(AttributeError):  # Of C libraries other than GNU's.
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')
    return peak()


def peak() -> float:
    """Return the most memory used, in MB, since it was forgotten."""
    status = Path('/proc/self/status').read_text()
    return int(re.findall(r'VmHWM:\s+(\d+)', status)[0]) / 1024


if __name__ == '__main__':
    sys.exit(main())
