"""Downloads that are complete, and the same every time."""

from __future__ import annotations

import gzip
import hashlib
import os
import os.path as osp
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import IO, Any

import pooch
from filelock import FileLock
from requests import RequestException, Response, Session
from tqdm.auto import tqdm

from pyg_ckd.datasets.raw.files import make_writable, not_written, open_atomic
from pyg_ckd.datasets.raw.prompt_adapter import PromptAdapter
from pyg_ckd.datasets.raw.recipe import RawFile
from pyg_ckd.datasets.raw.regular_file import open_regular
from pyg_ckd.kernels.arguments import check_number, check_whole

_CHECKSUMS = 'SHA256SUMS'
_CHECKSUM = re.compile('([0-9a-fA-F]{64}) [ *](.+)')
_IMAGE_SIZE = 10 + 4 * 4096  # An item's id and its 4,096 numbers.
_CHUNK_SIZE = 2**16
_LONGEST_LINE = 2**12  # Of checksums; the rest of a longer one has none.


def download(
    files: Iterable[RawFile],
    folder: str | os.PathLike[str],
    retries: int = 2,
    timeout: float = 30.0,
) -> None:
    r"""Download the files that are not in a folder yet, and verify the others.

    A file takes its place only once it is complete: it has the checksum of its
    recipe, or else the one that is noted in ``folder/SHA256SUMS``. If neither
    is known, a ``.gz`` file is read to its end and a ``.b`` file has to hold
    whole items; its checksum is then noted. ``sha256sum -c SHA256SUMS`` repeats
    the check. Of two processes that download to the same folder, one waits for
    the other.

    Args:
        files: The files, each with its mirrors, which are tried in order.
        folder: Where to keep them. It is created if needed.
        retries: How often to try a mirror again. (default: ``2``)
        timeout: For how many seconds a mirror may be silent, and how many it
            may take for the headers of its answer. (default: ``30.0``)

    Raises:
        ConnectionError: If all mirrors of a file fail. The others are kept.
        OSError: If a file cannot be written, such as on a full disk.
        PermissionError: If files are missing and the folder cannot be written.
        ValueError: If a file that was there before is not complete or has
            another checksum, or ``SHA256SUMS`` is malformed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> file = RawFile('image.b', ('https://example.org/image.b',))
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, 'image.b').write_bytes(bytes(16_394))
        ...     download([file], root)  # It is there, so nothing is fetched.
        ...     Path(root, 'SHA256SUMS').read_text()
        '...  image.b\n'
    """
    check_whole('download', 0, retries=retries)
    check_number('download', 'positive', timeout=timeout)
    files = list(files)
    folder = osp.abspath(osp.expanduser(folder))
    if _missing(files, folder):
        make_writable(folder)
    with _alone_in(folder):
        _verify(files, folder)
        failures = [
            failure
            for file in _missing(files, folder)
            for failure in _fetch(file, folder, retries, timeout)
        ]
    if failures:
        raise ConnectionError(
            '\n'.join(
                [
                    'Not all files could be downloaded:',
                    *failures,
                    f"Try again later, or put them into '{folder}' under these "
                    f'names yourself',
                ]
            )
        )


def verify(files: Iterable[RawFile], folder: str | os.PathLike[str]) -> None:
    r"""Verify the files that are in a folder.

    That is, their checksums are those of the recipe and of
    ``folder/SHA256SUMS``. Where none is known yet, it is noted there once the
    file proved complete, unless the folder cannot be written.

    Args:
        files: The files. One that is not there is skipped.
        folder: The folder that holds them.

    Raises:
        ValueError: If a file is not complete or has another checksum, or
            ``SHA256SUMS`` is malformed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> file = RawFile('image.b', ('https://example.org/image.b',))
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, 'image.b').write_bytes(bytes(16_394))
        ...     verify([file], root)
        ...     Path(root, 'SHA256SUMS').read_text()
        '...  image.b\n'
    """
    folder = osp.abspath(osp.expanduser(folder))
    with _alone_in(folder):
        _verify(files, folder)


def _missing(files: Iterable[RawFile], folder: str) -> list[RawFile]:
    return [
        file for file in files if not osp.exists(osp.join(folder, file.name))
    ]


def _alone_in(folder: str) -> AbstractContextManager[Any]:
    if os.access(folder, os.W_OK):
        return FileLock(osp.join(folder, '.download.lock'))
    return nullcontext()  # Nobody can write there, or it does not exist.


def _fetch(
    file: RawFile, folder: str, retries: int, timeout: float
) -> list[str]:
    """Download a file, or return why each of its mirrors failed."""
    checksums = _read_checksums(folder)
    known = file.sha256 or checksums.get(file.name)
    path = osp.join(folder, file.name)
    failures = [f'  {file.name}']
    for url in file.urls:
        mirror = pooch.create(
            folder,
            base_url='',
            registry={file.name: known},
            urls={file.name: url},
            retry_if_failed=retries,
        )
        downloader = _downloader(file, known, timeout)
        try:
            mirror.fetch(file.name, downloader=downloader)
        except (RequestException, ValueError) as error:
            failures.append(f'    {url}: {error}')
        except OSError as error:
            raise not_written(path, error) from error
        else:
            checksum = known or _checksum(path)
            _note(folder, checksums, file.name, checksum)
            return []
    if known:
        failures.append(
            f'    The SHA-256 is expected to be {known}; if that is out of '
            f'date, {_way_to_forget(file, folder)}'
        )
    return failures


def _downloader(
    file: RawFile, known: str | None, timeout: float
) -> Callable[[str, str, object], None]:
    def get(url: str, path: str, _: object) -> None:
        # Made by pooch for its owner only; written anew, others can read it:
        os.remove(path)
        with (
            open(path, 'xb') as output,
            tqdm(
                desc=file.name,
                unit='B',
                unit_scale=True,
                leave=False,
                disable=None,
            ) as bar,
        ):
            for chunk in _chunks(url, timeout, bar):
                output.write(chunk)
        if known is None:
            _check_complete(path, file.name)

    return get


def _chunks(url: str, timeout: float, bar: tqdm) -> Iterator[bytes]:
    """Yield what a mirror sends, and show how much that is."""
    with Session() as session:
        for scheme in ('http://', 'https://'):
            session.mount(scheme, PromptAdapter())
        with session.get(
            url,
            stream=True,
            timeout=timeout,
            headers={'Accept-Encoding': 'identity'},
            hooks={'response': _keep_bytes},
        ) as response:
            response.raise_for_status()
            size = response.headers.get('Content-Length', '')
            bar.total = int(size) if size.isdecimal() else None
            for chunk in response.iter_content(_CHUNK_SIZE):
                yield chunk
                bar.update(len(chunk))


def _keep_bytes(response: Response, **_: object) -> None:
    # Some servers declare a '.gz' file to be an encoding of what is in it:
    response.raw.headers.pop('Content-Encoding', None)


def _verify(files: Iterable[RawFile], folder: str) -> None:
    checksums = _read_checksums(folder)
    for file in files:
        path = osp.join(folder, file.name)
        if not osp.exists(path):
            continue
        known = file.sha256 or checksums.get(file.name)
        if known is None:
            try:
                _check_complete(path, file.name)
            except ValueError as error:
                raise ValueError(
                    f"'{path}': {error}; delete it to download it again"
                ) from error
        checksum = _checksum(path)
        if known not in (None, checksum):
            raise ValueError(
                f"'{path}': the SHA-256 is {checksum}, expected {known}; "
                f'delete the file to download it again or, if this one is '
                f'wanted, {_way_to_forget(file, folder)}'
            )
        _note(folder, checksums, file.name, checksum)


def _way_to_forget(file: RawFile, folder: str) -> str:
    if file.sha256:
        return "change its 'sha256' in the recipe"
    return f"delete its line in '{osp.join(folder, _CHECKSUMS)}'"


def _check_complete(path: str, name: str) -> None:
    size = osp.getsize(path)
    if size == 0:
        raise ValueError('the file is empty')
    if name.endswith('.gz'):
        try:
            with _open(path) as file, gzip.open(file) as unzipped:
                while unzipped.read(_CHUNK_SIZE):
                    pass
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f'not a complete gzip file ({error})') from error
    elif name.endswith('.b'):
        if size % _IMAGE_SIZE:
            raise ValueError(
                f'not a complete file of image features ({size} bytes, '
                f'expected a multiple of {_IMAGE_SIZE})'
            )
    else:
        raise ValueError("cannot be checked without a 'sha256' in its recipe")


def _checksum(path: str) -> str:
    digest = hashlib.sha256()
    with _open(path) as file:
        while chunk := file.read(_CHUNK_SIZE):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _open(path: str) -> Iterator[IO[bytes]]:
    with (
        open_regular(path) as file,
        tqdm.wrapattr(
            file,
            'read',
            total=osp.getsize(path),
            desc='Checking',
            leave=False,
            disable=None,
        ) as watched,
    ):
        yield watched


def _read_checksums(folder: str) -> dict[str, str]:
    """Return the checksum of each file that is noted in a folder."""
    path = osp.join(folder, _CHECKSUMS)
    if not osp.exists(path):
        return {}
    checksums: dict[str, str] = {}
    with open_regular(path) as file:
        rows = iter(partial(file.readline, _LONGEST_LINE), b'')
        for line, row in enumerate(rows, start=1):
            text = row.decode('utf-8', 'surrogateescape').rstrip('\r\n')
            match = _CHECKSUM.fullmatch(text)
            if match is None:
                raise ValueError(
                    f"'{path}', line {line}: expected 64 hexadecimal digits, "
                    f'two spaces and the name of a file; delete the line'
                )
            checksum, name = match.groups()
            if name in checksums:
                raise ValueError(
                    f"'{path}', line {line}: {name!a} is listed twice; "
                    f'delete one of the two lines'
                )
            checksums[name] = checksum.lower()
    return checksums


def _note(
    folder: str, checksums: dict[str, str], name: str, checksum: str
) -> None:
    if checksums.get(name) == checksum or not os.access(folder, os.W_OK):
        return
    checksums[name] = checksum
    lines = [f'{checksums[name]}  {name}\n' for name in sorted(checksums)]
    with open_atomic(osp.join(folder, _CHECKSUMS)) as file:
        file.write(''.join(lines).encode('utf-8', 'surrogateescape'))
