"""The search for settings."""

from ._tune import Tuned, tune
from .best import Found
from .spaces import Spaces
from .trials import Tried
from .watcher import TuneWatcher

__all__ = ['Found', 'Spaces', 'Tried', 'TuneWatcher', 'Tuned', 'tune']
