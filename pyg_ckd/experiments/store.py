"""A folder of results."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.results import Results

#: What is too large for a line of JSON.
ARRAYS = ('users', 'hits')


class Store:
    """A folder of results, which several processes may share.

    ``results.jsonl`` has one line a run. Beside it lie the metrics of users
    and the hits (``users/<key>.npz``), the final embeddings
    (``embeddings/<key>.pt``), and, while a run is trained, its checkpoint and
    its lock (``running/``). A line is written once all else is there, in one
    piece. A process that is killed leaves at most half a line, which is
    skipped and named in :attr:`problems`, and no lock. Of two results with the
    same key, the later one counts.

    Several machines can share the folder if its file system has locks
    (``flock``), as local disks, NFS from version 4 on, Lustre and GPFS do.

    Args:
        folder (str or Path): The folder; it is made when something is saved.

    Example:
        >>> import tempfile
        >>> from pyg_ckd.experiments import Method, Run
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Store(folder).save(Result(Run('shop', 'VBPR', Method(), 0)))
        ...     [str(result.run) for result in Store(folder).results()]
        ['VBPR base 0']
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        self.log = self.folder / 'results.jsonl'
        self._forget()

    def results(self) -> list[Result]:
        """Return all results, failed runs included, in the order of writing."""
        self._read()
        return Results(self._results.values())

    @property
    def problems(self) -> list[str]:
        """What could not be read, by file and line."""
        self._read()
        cut_off = [self._cut_off] if self._cut_off else []
        return [*self._lines_left_out, *self._damaged.values(), *cut_off]

    def get(self, key: str) -> Result | None:
        """Return the result of a run, if there is one.

        Args:
            key: The :attr:`~pyg_ckd.experiments.Run.key` of the run.
        """
        self._read()
        return self._results.get(key)

    def save(self, result: Result) -> None:
        """Add a result.

        Args:
            result: What a run gave.

        Raises:
            OSError: If writing fails, such as on a full disk. The store is as
                it was.
        """
        arrays = {
            f'{kind}.{name}': _array(value)
            for kind in ARRAYS
            for name, value in getattr(result, kind).items()
        }
        values = {**result.to_dict(), 'arrays': bool(arrays)}
        line = json.dumps(values).encode() + b'\n'
        if arrays:
            with open_atomic(self._arrays(result.run.key)) as file:
                np.savez_compressed(file, **arrays)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / 'results.lock'):
            # A line that was cut off ends here:
            _append(self.log, line if self._ends_with_line() else b'\n' + line)

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Claim a run for this process, until the block ends or it is killed.

        Args:
            key: The key of the run.

        Yields:
            Whether it was claimed; if not, another process is at work on it.
        """
        path = self._lock(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def checkpoint(self, key: str) -> Path:
        """Return where the checkpoint of a run is while it is trained."""
        return self.folder / 'running' / f'{key}.ckpt'

    def embeddings(self, key: str) -> Path:
        """Return where the embeddings of a run are, as a teacher's file."""
        return self.folder / 'embeddings' / f'{key}.pt'

    def model(self, key: str) -> Path:
        """Return where the model of a run is, if it is saved to be served."""
        return self.folder / 'models' / key

    def clear(self, key: str) -> None:
        """Remove what a run needed while it was trained."""
        checkpoint = self.checkpoint(key)
        half = checkpoint.with_name(f'{checkpoint.name}.half')
        for path in (checkpoint, half, self._lock(key)):
            with suppress(OSError):
                path.unlink()

    def sweep(self, key: str) -> None:
        """Remove what a process left that was killed when a run was over."""
        if self.checkpoint(key).exists() or self._lock(key).exists():
            with self.claim(key) as claimed:
                if claimed:
                    self.clear(key)

    def _lock(self, key: str) -> Path:
        return self.folder / 'running' / f'{key}.lock'

    def _arrays(self, key: str) -> Path:
        return self.folder / 'users' / f'{key}.npz'

    def _ends_with_line(self) -> bool:
        if not self.log.exists() or not self.log.stat().st_size:
            return True
        with self.log.open('rb') as lines:
            lines.seek(-1, os.SEEK_END)
            return lines.read() == b'\n'

    def _forget(self) -> None:
        self._results: dict[str, Result] = {}
        self._lines_left_out: list[str] = []
        self._damaged: dict[str, str] = {}  # arrays, by key
        self._cut_off = ''
        self._content = b''  # as far as it was taken up
        self._state: tuple[int, ...] = ()

    def _read(self) -> None:
        """Read what was added since the last time, or all of another file."""
        state: tuple[int, ...] = ()
        if self.log.exists():
            stat = self.log.stat()
            state = stat.st_ino, stat.st_size, stat.st_mtime_ns
        if state == self._state:
            return
        content = self.log.read_bytes() if state else b''
        if not content.startswith(self._content):
            self._forget()
        self._state = state
        self._cut_off = ''
        first = self._content.count(b'\n') + 1
        *lines, rest = content[len(self._content) :].split(b'\n')
        self._content = content
        if _is_json(rest):
            lines.append(rest)
        elif rest.strip():
            self._content = content[: -len(rest)]
            number = first + len(lines)
            self._cut_off = f"'{self.log}', line {number}, was cut off"
        with_arrays: dict[str, bool] = {}
        for number, line in enumerate(lines, first):
            if not line.strip():
                continue
            try:
                result, has_arrays = _parsed(line)
            except (ValueError, RecursionError) as error:
                self._lines_left_out.append(
                    f"'{self.log}', line {number}, is left out: {error}"
                )
                continue
            key = result.run.key
            self._damaged.pop(key, None)
            self._results.pop(key, None)
            self._results[key] = result
            with_arrays[key] = has_arrays
        for key in with_arrays:
            if with_arrays[key]:
                self._add_arrays(key)

    def _add_arrays(self, key: str) -> None:
        """Add what a file holds to a result; without it, leave both out."""
        result, path = self._results[key], self._arrays(key)
        try:
            arrays = _read_arrays(path)
        except FileNotFoundError:
            self._damaged[key] = (
                f"'{path}' is missing: '{result.run}' has no metrics of users"
            )
        except Exception as error:  # whatever a broken file leads to
            del self._results[key]
            self._damaged[key] = (
                f"'{path}' is damaged ({error}): '{result.run}' is left out"
            )
        else:
            result.users, result.hits = arrays['users'], arrays['hits']


def _array(value: Tensor) -> Any:
    value = value.cpu()
    return (value.float() if value.is_floating_point() else value).numpy()


def _append(path: Path, line: bytes) -> None:
    """Add a line to a file, whole or not at all."""
    with open(path, 'ab', buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, f"'{path}' could not be written")
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def _parsed(line: bytes) -> tuple[Result, bool]:
    """Return the result of a line, and whether it has arrays."""
    values = json.loads(line)
    has_arrays = isinstance(values, dict) and values.pop('arrays', False)
    return Result.from_dict(values), bool(has_arrays)


def _read_arrays(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return arrays by kind and name."""
    found: dict[str, dict[str, Tensor]] = {kind: {} for kind in ARRAYS}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            kind, _, name_in_kind = name.partition('.')
            found[kind][name_in_kind] = torch.from_numpy(arrays[name])
    for kind, values in found.items():
        shapes = {tuple(value.shape) for value in values.values()}
        if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
            raise ValueError(f"its '{kind}' have the shapes {shapes}")
    return found


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
