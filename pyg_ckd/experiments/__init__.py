"""Experiments: runs that are kept, resumed, compared and read.

``METHODS`` holds the methods that have names, such as ``METHODS['ckd-gate']``,
and ``BACKBONES`` the backbones.

All is imported when it is asked for, as in ``pyg_ckd`` itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._report import report as report
    from .backbones import BACKBONES as BACKBONES
    from .experiment import Experiment as Experiment
    from .method import METHODS as METHODS
    from .method import Method as Method
    from .result import Result as Result
    from .run import Run as Run
    from .settings import Settings as Settings
    from .statistics import Comparison as Comparison
    from .statistics import bootstrap_interval as bootstrap_interval
    from .statistics import compare as compare
    from .statistics import holm as holm
    from .statistics import paired_test_seeds as paired_test_seeds
    from .statistics import paired_test_users as paired_test_users
    from .store import Store as Store
    from .tables import bases_of as bases_of
    from .tables import best_bases as best_bases
    from .tables import best_bases_of as best_bases_of
    from .tables import comparisons as comparisons
    from .tables import current as current
    from .tables import summarize as summarize
    from .tuning import Spaces as Spaces
    from .tuning import Tuned as Tuned
    from .tuning import TuneWatcher as TuneWatcher
    from .tuning import tune as tune
    from .watcher import Watcher as Watcher

_HOME = {
    'BACKBONES': 'backbones',
    'Comparison': 'statistics',
    'Experiment': 'experiment',
    'METHODS': 'method',
    'Method': 'method',
    'Result': 'result',
    'Run': 'run',
    'Settings': 'settings',
    'Spaces': 'tuning',
    'Store': 'store',
    'TuneWatcher': 'tuning',
    'Tuned': 'tuning',
    'Watcher': 'watcher',
    'bases_of': 'tables',
    'best_bases': 'tables',
    'best_bases_of': 'tables',
    'bootstrap_interval': 'statistics',
    'compare': 'statistics',
    'comparisons': 'tables',
    'current': 'tables',
    'holm': 'statistics',
    'paired_test_seeds': 'statistics',
    'paired_test_users': 'statistics',
    'report': '_report',
    'summarize': 'tables',
    'tune': 'tuning',
}

__all__ = sorted(_HOME)


if not TYPE_CHECKING:  # as in `pyg_ckd`

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(
                f'module {__name__!r} has no attribute {name!r}'
            )
        value = getattr(import_module(f'{__name__}.{_HOME[name]}'), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
