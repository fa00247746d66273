"""Training. Lightning is imported once it is needed."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyg_ckd.triplet_loader import TripletLoader

from .losses import Losses, compute_losses

if TYPE_CHECKING:
    from ._fit import fit
    from ._gradient_share import gradient_share
    from .failure_signs import FailureSigns
    from .keep_best import KeepBest
    from .progress_line import ProgressLine
    from .recommendation import Recommendation
    from .save_last import SaveLast
    from .sharded_tables import ShardedTables
    from .teaching import fit_teachers
    from .watch_views import WatchViews

_LAZY = {
    'FailureSigns': 'failure_signs',
    'KeepBest': 'keep_best',
    'ProgressLine': 'progress_line',
    'Recommendation': 'recommendation',
    'SaveLast': 'save_last',
    'ShardedTables': 'sharded_tables',
    'WatchViews': 'watch_views',
    'fit': '_fit',
    'fit_teachers': 'teaching',
    'gradient_share': '_gradient_share',
}

__all__ = [
    'FailureSigns',
    'KeepBest',
    'Losses',
    'ProgressLine',
    'Recommendation',
    'SaveLast',
    'ShardedTables',
    'TripletLoader',
    'WatchViews',
    'compute_losses',
    'fit',
    'fit_teachers',
    'gradient_share',
]


if not TYPE_CHECKING:  # as in `pyg_ckd`

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(
                f'module {__name__!r} has no attribute {name!r}'
            )
        value = getattr(import_module(f'{__name__}.{_LAZY[name]}'), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
