"""Memory that one step frees and the next one needs again."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from threading import Lock

# Parameters of `mallopt`, from <malloc.h>:
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = -1
_COMMON_MMAP_MAX = 65_536
#: What glibc itself goes up to as large blocks are freed.
_COMMON_MMAP_THRESHOLD = 32 * 2**20

#: Up to so many bytes of a process, holes among its blocks are affordable.
_AFFORDABLE = 2**30

_lock = Lock()
_users = 0


@contextmanager
def memory_reused() -> Iterator[None]:
    """Keep what is freed for what is allocated next, instead of unmapping it.

    glibc gives each block of more than 32 MB back to the system when it is
    freed, and smaller ones at the end of its heap. The next one is mapped anew,
    and the system clears it page by page: steps of training may spend more time
    on this than on arithmetic. Within this context blocks of the main thread
    stay with the process, those of others do not. Holes among them make it
    larger, by a fifth to two thirds where we looked. Contexts may be nested.

    It is a setting of the whole process, and of those that it forks meanwhile.
    At its end what is free goes back; blocks that are held then lie in the
    heap, and what is freed of them later may stay. From then on blocks of more
    than 32 MB are mapped, and the heap is cut where 64 MB are free at its end,
    whatever it was before.

    Nothing happens without glibc, or if the environment sets its malloc by
    ``GLIBC_TUNABLES`` or a ``MALLOC_..._`` variable, which then count.

    Example:
        >>> import torch
        >>> with memory_reused():
        ...     table = torch.zeros(2**20, 16)
    """
    global _users
    set_option = _mallopt()
    if set_option is None:
        yield
        return
    with _lock:
        _users += 1
        if _users == 1:
            set_option(_MMAP_MAX, 0)
            set_option(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                set_option(_MMAP_MAX, _COMMON_MMAP_MAX)
                set_option(_MMAP_THRESHOLD, _COMMON_MMAP_THRESHOLD)
                set_option(_TRIM_THRESHOLD, 2 * _COMMON_MMAP_THRESHOLD)
                ctypes.CDLL(None).malloc_trim(0)


def memory_reused_if_small() -> AbstractContextManager[None]:
    """Return :func:`memory_reused`, or nothing in a process beyond 1 GB."""
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except OSError:
        return nullcontext()
    size = pages * os.sysconf('SC_PAGE_SIZE')
    return memory_reused() if size <= _AFFORDABLE else nullcontext()


@cache
def _mallopt() -> Callable[[int, int], int] | None:
    is_set = 'glibc.malloc' in os.environ.get('GLIBC_TUNABLES', '') or any(
        name.startswith('MALLOC_') and name.endswith('_') for name in os.environ
    )
    if is_set or platform.libc_ver()[0] != 'glibc':
        return None
    option: Callable[[int, int], int] = ctypes.CDLL(None).mallopt
    return option
