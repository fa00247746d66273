"""Where and by what a result was made."""

from __future__ import annotations

import platform
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import pyg_ckd

PACKAGES = ('torch', 'torch_geometric', 'pytorch-lightning', 'numpy')


def environment(device: torch.device) -> dict[str, Any]:
    """Return versions, revision, device, threads and date, as plain values.

    Args:
        device: Where the model was trained.
    """
    on_gpu = device.type == 'cuda'
    return {
        'pyg_ckd': pyg_ckd.__version__,
        **{name.replace('-', '_'): _version(name) for name in PACKAGES},
        'python': platform.python_version(),
        'platform': f'{platform.system()} {platform.machine()}',
        'device': torch.cuda.get_device_name(device) if on_gpu else device.type,
        'threads': torch.get_num_threads(),
        'revision': revision(),
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'peak_memory_mb': round(peak_memory() / 2**20),
    }


@cache
def revision(folder: Path = Path(__file__).parent) -> str:
    """Return the git revision of the library, empty if it has none.

    It ends with ``-dirty`` if files differ from it.

    Args:
        folder: A folder of the library, which has an ``__init__.py``.
    """
    command = ['git', 'describe', '--always', '--dirty', '--exclude', '*']
    with suppress(OSError, subprocess.SubprocessError):
        tracked = ['git', 'ls-files', '--error-unmatch', '__init__.py']
        for each in (tracked, command):
            done = subprocess.run(
                each,
                cwd=folder,
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            )
        return done.stdout.strip()
    return ''


def reset_peak_memory() -> None:
    """Let the peak be that of what follows, where the system allows it."""
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> int:
    """Return the most memory that was used at once, in bytes.

    On Linux it is that since :func:`reset_peak_memory`, elsewhere since the
    process began; with a GPU, its memory is added. 0 where it is not known.
    """
    most = 0
    with suppress(OSError, StopIteration, ValueError):
        lines = Path('/proc/self/status').read_text().splitlines()
        line = next(x for x in lines if x.startswith('VmHWM'))
        most = 1024 * int(line.split()[1])
    if not most:
        with suppress(ImportError):
            import resource

            usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            most = usage * (1 if sys.platform == 'darwin' else 1024)
    if torch.cuda.is_available():
        most += torch.cuda.max_memory_allocated()
    return most


def _version(name: str) -> str:
    with suppress(PackageNotFoundError):
        return version(name)
    return ''
