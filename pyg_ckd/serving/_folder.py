"""Folders of saved models: written whole, read with suspicion."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from torch import Tensor

#: The file that says what the others are.
MANIFEST = 'model.json'
FORMAT = 'pyg_ckd'
FORMAT_VERSION = 2
#: The other files that a saved model may have.
FILES = (
    'weights.safetensors',
    'embeddings.safetensors',
    'interactions.safetensors',
    'users.json',
    'items.json',
    'titles.json',
)
#: No manifest is longer than that, in bytes.
LONGEST = 2**20


@contextmanager
def written(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder that takes the place of another one once complete.

    A reader finds the old one or the new one, each of them whole, but for the
    instant between two renames.

    Args:
        folder: The folder to write. One that is there is replaced if it holds
            a saved model or nothing.

    Raises:
        FileExistsError: If something else is there.
    """
    target = Path(folder).resolve()
    check_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f'.{target.name}.{uuid4().hex}')
    old = target.with_name(f'.{target.name}.{uuid4().hex}')
    new.mkdir()
    try:
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_replaceable(folder: Path) -> None:
    """Refuse to write where something else is than a saved model.

    Args:
        folder: Where to write.

    Raises:
        FileExistsError: If a file or another folder is there.
    """
    if not folder.exists():
        return
    if folder.is_dir():
        others = {path.name for path in folder.iterdir()} - {MANIFEST, *FILES}
        path = folder / MANIFEST
        if not others and (not path.exists() or _is_ours(path)):
            return
        found = f"it holds '{min(others, default=MANIFEST)}'"
    else:
        found = 'it is a file'
    raise FileExistsError(
        f"'{folder}' is no saved model that could be replaced: {found}. Choose "
        f'another folder'
    )


def _is_ours(path: Path) -> bool:
    try:
        values = read_json(path)
    except ValueError:
        return False
    return isinstance(values, dict) and values.get('format') == FORMAT


def write_manifest(folder: Path, values: Mapping[str, Any]) -> None:
    """Write what a model is, and the digests of the other files.

    Args:
        folder: Where the other files are.
        values: Plain values by name.
    """
    files = {
        path.name: {'bytes': path.stat().st_size, 'sha256': digest(path)}
        for path in sorted(folder.iterdir())
    }
    head = {'format': FORMAT, 'format_version': FORMAT_VERSION}
    write_json(folder / MANIFEST, {**head, **values, 'files': files}, indent=2)
    for name in files:  # safetensors writes for its owner alone
        shutil.copymode(folder / MANIFEST, folder / name)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what a model is, once its files are known to be whole.

    Args:
        folder: The folder of a saved model.

    Raises:
        FileNotFoundError: If it is no such folder.
        ValueError: If it has another format, or a file is not as it was.
    """
    path = folder / MANIFEST
    if not path.is_file():
        inside = sorted(p.parent.name for p in folder.glob(f'*/{MANIFEST}'))
        raise FileNotFoundError(
            f"'{folder}' is no saved model: it has no '{MANIFEST}'"
            + (f', but there are models in it: {inside}' if inside else '')
        )
    if path.stat().st_size > LONGEST:
        raise ValueError(f"'{path}' is longer than {LONGEST} bytes")
    values = read_json(path)
    if not isinstance(values, dict) or values.get('format') != FORMAT:
        raise ValueError(f"'{path}' is of another format than '{FORMAT}'")
    number = values.get('format_version')
    if number != FORMAT_VERSION:
        raise ValueError(
            f"'{path}' has the format version {number!r}, this version of "
            f'pyg_ckd reads {FORMAT_VERSION}: save the model again'
        )
    files = values.get('files')
    if not isinstance(files, dict):
        raise ValueError(f"'{path}' does not list its 'files'")
    for name, known in files.items():
        _check_file(folder, name, known)
    return values


def _check_file(folder: Path, name: str, known: Any) -> None:
    path = folder / name
    if name != path.name or not path.is_file():
        raise ValueError(f"'{folder}' has no file {name!r} of its own")
    wanted = known.get('sha256') if isinstance(known, dict) else None
    size = known.get('bytes') if isinstance(known, dict) else None
    if path.stat().st_size != size or digest(path) != wanted:
        raise ValueError(
            f"'{path}' is not as it was when the model was saved: copy the "
            f'folder anew'
        )


def write_json(path: Path, values: Any, indent: int | None = None) -> None:
    """Write plain values to a JSON file."""
    text = json.dumps(values, indent=indent, default=_number)
    path.write_text(f'{text}\n', 'utf-8')


def read_json(path: Path) -> Any:
    """Return the values of a JSON file.

    Args:
        path: The file.

    Raises:
        ValueError: If it is not JSON.
    """
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is not JSON ({error})") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file of ``safetensors``.

    Args:
        path: The file.

    Raises:
        ValueError: If it is of another format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        # Copies, since a file that is mapped may be cut while it is used, and
        # products of unaligned rows differ in the last bit:
        return {name: x.clone() for name, x in load_file(path).items()}
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"'{path}' is no file of safetensors ({error})"
        ) from error


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def _number(value: Any) -> Any:
    """Return a number of NumPy or torch as one of Python."""
    if hasattr(value, 'item'):
        return value.item()
    raise TypeError(f'{value!r} is no value of JSON')


def _refuse(constant: str) -> Any:
    raise ValueError(f'{constant} is no number of JSON')
