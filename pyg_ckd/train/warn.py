"""Warnings in training."""

from __future__ import annotations

import sys
import warnings

from tqdm import tqdm

#: Whose code a warning does not point at.
_INNER = ('lightning_fabric', 'pyg_ckd', 'pytorch_lightning', 'torch')


def warn(message: str) -> None:
    """Warn on a line of its own, and point at the code that called training.

    Args:
        message: What to say.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_inner(
        frame.f_globals.get('__name__', '')
    ):
        level, frame = level + 1, frame.f_back
    with tqdm.external_write_mode(file=sys.stderr):
        warnings.warn(message, stacklevel=level)


def _is_inner(module: str) -> bool:
    return module.partition('.')[0] in _INNER
