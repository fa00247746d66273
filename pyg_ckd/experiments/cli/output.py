"""What commands write: JSON and tables on one stream, words on the other."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console


def messages() -> Console:
    """Return the console for progress and messages.

    Logs have lines as long as they are; only terminals break them. Notebooks
    and CI services set ``FORCE_COLOR``, which does not make a terminal of them.
    """
    console = Console(
        stderr=True,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=sys.stderr is not None and sys.stderr.isatty(),
    )
    console.soft_wrap = not console.is_terminal
    return console


def tables() -> Console:
    """Return the console for what was asked for."""
    return Console(highlight=False, markup=False, emoji=False)


def write_json(value: Any) -> None:
    """Write plain values to the standard output."""
    print(json.dumps(value, indent=2, allow_nan=False))
