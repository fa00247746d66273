"""Pictures of items that are known by their URLs."""

from __future__ import annotations

import csv
import io
import os
import os.path as osp
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import NamedTuple

import requests
from filelock import FileLock
from PIL import Image
from tqdm.auto import tqdm
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from pyg_ckd.datasets.features.item_files import ItemFiles
from pyg_ckd.datasets.features.pictures import ENDINGS, PICTURES, formats
from pyg_ckd.datasets.raw.files import make_writable, open_atomic
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.problems import Problems
from pyg_ckd.datasets.raw.prompt_adapter import PromptAdapter
from pyg_ckd.kernels.arguments import check_number, check_whole

_CHUNK = 2**16
_NAME = re.compile(r'[\w-][\w.-]*')
_LONGEST_NAME = 200  # bytes
_URL = re.compile(r'https?://[^\s/]\S*')
_BUSY = frozenset({429, 500, 502, 503, 504})  # Later, it may work.
_LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for
_PATIENCE = 10  # times the timeout, for a server that is slow and not silent
_IN_A_ROW = (
    30  # Pictures without a connection, until the network counts as down
)
_NO_CONNECTION = 'has no connection'


class PictureReport(NamedTuple):
    """What became of a download of pictures."""

    #: The folder that holds the pictures.
    folder: str
    #: The table of failures, with item, URL and reason.
    path: str
    #: The number of pictures that were there before.
    there: int
    #: The number of pictures that were fetched.
    fetched: int
    #: The item, the URL and the reason of each failure.
    failures: list[tuple[str, str, str]]

    @property
    def reasons(self) -> dict[str, int]:
        """How many failures have each reason, the most frequent first."""
        counts = Counter(reason for *_, reason in self.failures)
        return dict(counts.most_common())


@dataclass(frozen=True)
class PictureDownload:
    """A download of pictures to a folder, one file an item.

    A picture is named by its item, ``<item>.jpg`` or as its format says. It
    takes its name once it is whole: the server has sent all of it, and it can
    be decoded. What is there is not fetched again, so that a download that was
    interrupted goes on where it stopped, and pictures may be put there by hand.
    A server that is busy is asked again after a pause, which doubles each time,
    or lasts as long as the server says.

    Args:
        folder (str or PathLike, optional): Where to keep the pictures.
            (default: the folder ``pictures`` of a data set)
        max_items (int, optional): Only the first so many items have a picture.
            (default: :obj:`None`, all)
        max_bytes (int, optional): The most bytes of all pictures together.
            (default: :obj:`None`, any number)
        threads (int): How many pictures are fetched at once.
        retries (int): How often to try again.
        timeout (float): For how many seconds a server may be silent, and how
            many it may take for the headers of its answer.
        pause (float): For how many seconds to wait before the first retry.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import tempfile
        >>> urls = {'cup': 'ftp://example.org/cup.jpg', 'pot': ''}
        >>> download = PictureDownload(max_items=1)
        >>> with tempfile.TemporaryDirectory() as root:
        ...     report = download(urls, root)
        >>> report.fetched, report.reasons
        (0, {'has no URL of http or https': 1, 'is beyond max_items': 1})
    """

    folder: str | os.PathLike[str] | None = None
    max_items: int | None = None
    max_bytes: int | None = None
    threads: int = field(default=8, repr=False)
    retries: int = field(default=2, repr=False)
    timeout: float = field(default=30.0, repr=False)
    pause: float = field(default=1.0, repr=False)

    def __post_init__(self) -> None:
        for name, least in (
            *(('max_items', 1), ('max_bytes', 1)),
            *(('threads', 1), ('retries', 0)),
        ):
            value = getattr(self, name)
            if value is None and name.startswith('max_'):
                continue
            check_whole('PictureDownload', least, **{name: value})
        check_number('PictureDownload', 'positive', timeout=self.timeout)
        check_number('PictureDownload', 'at least 0', pause=self.pause)

    def __call__(
        self,
        urls: Mapping[str, str],
        folder: str | os.PathLike[str] | None = None,
        report: str | os.PathLike[str] | None = None,
        limits: Limits = Limits(),
    ) -> PictureReport:
        """Download pictures, and warn of those that could not be had.

        Args:
            urls: The URL of each item's picture.
            folder: Where to keep them, unless ``self.folder`` says so.
            report: Where to write the table of failures. It is there once all
                items have been tried. (default: ``failures.csv`` in the folder)
            limits: ``file`` is the most bytes of a picture, ``pixels`` the most
                pixels.

        Raises:
            ConnectionError: If many items in a row get no connection, and one
                that was fetched before gets none any more. What was fetched
                stays.
            OSError: If a picture cannot be written, such as on a full disk.
            ValueError: If no folder is given, or it holds two pictures of an
                item.
        """
        where = self.folder or folder
        if where is None:
            raise ValueError("'folder' is missing; say where to keep pictures")
        where = osp.abspath(osp.expanduser(where))
        path = osp.join(where, 'failures.csv') if report is None else report
        make_writable(where)
        with FileLock(f'{where}.lock'):
            run = _Run(self, urls, where, limits)
            run.fetch_all()
            _write(path, run.failures)
        done = PictureReport(
            where, os.fspath(path), run.there, run.fetched, run.failures
        )
        _warn(done, len(urls))
        return done


class _Failure(Exception):
    """A picture that cannot be had, and whether to try again after a pause."""

    def __init__(self, reason: str, again: bool = False, wait: float = 0.0):
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.wait = wait


class _Run:
    """A download in progress, shared by its threads."""

    def __init__(
        self,
        settings: PictureDownload,
        urls: Mapping[str, str],
        folder: str,
        limits: Limits,
    ) -> None:
        self.settings = settings
        self.urls = urls
        self.folder = folder
        self.limits = limits
        known = ItemFiles(folder, PICTURES)
        here = [item for item in urls if item in known]
        self.there, self.fetched = len(here), 0
        self._num_bytes = sum(osp.getsize(known.where(item)) for item in here)
        self._reasons: dict[str, str] = {}
        self._num_tried = self._in_a_row = 0
        self._known: str | None = None
        self._lock, self._stop = Lock(), Event()
        self._ignores_case = _ignores_case(f'{folder}.lock')
        self._todo = self._wanted(set(here))

    @property
    def failures(self) -> list[tuple[str, str, str]]:
        """The failures, in the order of the items."""
        return [
            (item, url, self._reasons[item])
            for item, url in self.urls.items()
            if item in self._reasons
        ]

    def fetch_all(self) -> None:
        """Fetch what is wanted, by several threads."""
        num = self.settings.threads
        with ThreadPoolExecutor(num) as pool, self._bar() as bar:
            try:
                for work in [pool.submit(self._work, bar) for _ in range(num)]:
                    work.result()
            finally:
                self._stop.set()
        if self._in_a_row and self._in_a_row == self._num_tried:
            raise self._network_is_down()

    def _wanted(self, here: set[str]) -> Iterator[tuple[str, str]]:
        """Yield the items to fetch, and note those that cannot be."""
        most = self.settings.max_items
        taken = {item.casefold() for item in here}
        for number, (item, url) in enumerate(self.urls.items()):
            if item in here:
                continue
            if most is not None and number >= most:
                self._reasons[item] = 'is beyond max_items'
            elif not _names_file(item):
                self._reasons[item] = 'has an id that names no file'
            elif not (isinstance(url, str) and _URL.fullmatch(url)):
                self._reasons[item] = 'has no URL of http or https'
            elif self._ignores_case and item.casefold() in taken:
                self._reasons[item] = 'has the id of another but for case'
            elif self._is_full():
                self._reasons[item] = 'is beyond max_bytes'
            else:
                taken.add(item.casefold())
                yield item, url

    def _is_full(self, num_more: int = 1) -> bool:
        most = self.settings.max_bytes
        return most is not None and self._num_bytes + num_more > most

    def _work(self, bar: tqdm) -> None:
        """Fetch one picture after the other, until there is none left."""
        with requests.Session() as session:
            for scheme in ('http://', 'https://'):
                session.mount(scheme, PromptAdapter())
            session.headers.update(
                {
                    'User-Agent': 'pyg_ckd',
                    'Accept': 'image/*',
                    'Accept-Encoding': 'identity',
                }
            )
            try:
                while not self._stop.is_set():
                    with self._lock:
                        job = next(self._todo, None)
                    if job is None:
                        return
                    self._note(session, *job, self._fetch(session, *job))
                    with self._lock:
                        bar.update()
            except BaseException:  # The others are to stop as well.
                self._stop.set()
                raise

    def _note(
        self, session: requests.Session, item: str, url: str, reason: str
    ) -> None:
        """Note the outcome of an item, ``''`` if it was fetched."""
        with self._lock:
            self._num_tried += 1
            self._in_a_row += 1
            if reason != _NO_CONNECTION:
                self._in_a_row = 0
            if reason:
                self._reasons[item] = reason
            else:
                self.fetched += 1
                self._known = url
            is_doubtful = self._in_a_row >= _IN_A_ROW
        if is_doubtful:
            if not self._answers(session):
                raise self._network_is_down()
            with self._lock:  # It is a single server that is down.
                self._in_a_row = 0

    def _answers(self, session: requests.Session) -> bool:
        """Return whether the URL that was fetched last has a connection."""
        if self._known is None:
            return False
        try:
            self._get(session, self._known)
        except _Failure as failure:
            return failure.reason != _NO_CONNECTION
        return True

    def _network_is_down(self) -> ConnectionError:
        return ConnectionError(
            f'{self._in_a_row} pictures in a row got no connection; check the '
            f'network and start again: the {self.there + self.fetched} in '
            f"'{self.folder}' stay"
        )

    def _fetch(self, session: requests.Session, item: str, url: str) -> str:
        """Fetch a picture, and return why that failed, or ``''``."""
        pause = self.settings.pause
        for attempt in range(self.settings.retries + 1):
            try:
                content = self._get(session, url)
                ending = self._ending(content)
                self._keep(item + ending, content)
            except _Failure as failure:
                if not failure.again or attempt == self.settings.retries:
                    return failure.reason
                wait = max(failure.wait, pause * 2**attempt)
                self._stop.wait(min(wait, _LONGEST_PAUSE))
            else:
                return ''
        raise AssertionError

    def _get(self, session: requests.Session, url: str) -> bytes:
        """Return what a URL has, all of it."""
        timeout = self.settings.timeout
        end = time.monotonic() + _PATIENCE * timeout
        content = bytearray()
        try:
            with session.get(url, stream=True, timeout=timeout) as response:
                _check_status(response)
                for part in _parts(response):
                    content += part
                    if len(content) > self.limits.file:
                        raise _Failure('is larger than limits.file')
                    if time.monotonic() > end or self._stop.is_set():
                        raise _Failure('is sent too slowly')
                expected = response.headers.get('Content-Length', '')
                received = response.raw.tell()  # Before it is decoded.
        except (requests.exceptions.ChunkedEncodingError, ProtocolError):
            raise _Failure('is broken off', again=True) from None
        except (requests.ConnectionError, requests.Timeout, ReadTimeoutError):
            reason = 'is broken off' if content else _NO_CONNECTION
            raise _Failure(reason, again=True) from None
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise _Failure(f'has a {type(error).__name__}') from None
        if expected.isdecimal() and received < int(expected):
            raise _Failure('is broken off', again=True)
        return bytes(content)

    def _ending(self, content: bytes) -> str:
        """Return the ending of a picture, decoded to know that it is whole."""
        most = self.limits.pixels
        try:
            with Image.open(io.BytesIO(content), formats=formats()) as image:
                num_pixels = image.width * image.height
                if num_pixels <= most:
                    image.draft('RGB', (64, 64))  # JPEG, decoded faster.
                    image.load()
                ending = ENDINGS[image.format or '']
        except Image.DecompressionBombError:
            num_pixels = most + 1
        except Exception:  # Pillow raises many kinds on what is no picture.
            raise _Failure('is no whole picture') from None
        if num_pixels > most:
            raise _Failure('has more pixels than limits.pixels')
        if num_pixels == 1:  # What shops send where there is none.
            raise _Failure('is a single pixel')
        return ending

    def _keep(self, name: str, content: bytes) -> None:
        """Write a picture, unless that makes too many bytes."""
        with self._lock:
            if self._is_full(len(content)):
                raise _Failure('is beyond max_bytes')
            self._num_bytes += len(content)
        with open_atomic(osp.join(self.folder, name)) as file:
            file.write(content)

    def _bar(self) -> tqdm:
        return tqdm(
            desc='Downloading pictures',
            total=len(self.urls) - self.there,
            leave=False,
            disable=None,
        )


def _names_file(item: str) -> bool:
    """Return whether an id is the name of a file, whatever the system."""
    return bool(_NAME.fullmatch(item)) and len(item.encode()) <= _LONGEST_NAME


def _ignores_case(path: str) -> bool:
    """Return whether a folder ignores the case of letters, by a file in it."""
    folder, name = osp.split(path)
    twin = osp.join(folder, name.swapcase())
    return osp.exists(twin) and osp.samefile(path, twin)


def _parts(response: requests.Response) -> Iterator[bytes]:
    """Yield what a server sends as it comes, without waiting for more."""
    while part := response.raw.read1(_CHUNK, decode_content=True):
        yield part


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status != 200:
        wait = response.headers.get('Retry-After', '')
        raise _Failure(
            f'has status {status}',
            again=status in _BUSY,
            wait=float(wait) if wait.isdecimal() else 0.0,
        )


def _write(
    path: str | os.PathLike[str], failures: list[tuple[str, str, str]]
) -> None:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator='\n')
    rows.writerow(['item', 'url', 'reason'])
    rows.writerows(failures)
    with open_atomic(path) as file:
        file.write(text.getvalue().encode('utf-8', 'backslashreplace'))


def _warn(report: PictureReport, num: int) -> None:
    if not report.failures:
        return
    problems = Problems(report.folder, 'row', skip=True)
    for row, (item, url, reason) in enumerate(report.failures, start=1):
        problems.add(row, reason, f"'{item}' at '{url}'")
    warnings.warn(
        f"'{report.folder}' lacks the pictures of {len(problems)} of {num} "
        f"items, listed in '{report.path}': {problems}; delete that file to "
        f'try them again',
        stacklevel=3,
    )
