"""Multimodal recommendation with balanced modalities, on PyTorch Geometric.

What the first page needs is here; everything else is in the subpackages. All
is imported when it is asked for, so that PyTorch Lightning is loaded only by
who trains with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = '0.1.0'

if TYPE_CHECKING:
    from pyg_ckd.balance import CKD, Teacher
    from pyg_ckd.datasets.from_interactions import from_interactions
    from pyg_ckd.graph import check
    from pyg_ckd.inspect import diagnose, explain
    from pyg_ckd.nn import as_recommender
    from pyg_ckd.ranking import (
        evaluate,
        evaluate_users,
        evaluate_views,
        rank,
        recommend,
    )
    from pyg_ckd.train import Recommendation, fit, fit_teachers
    from pyg_ckd.triplet_loader import TripletLoader
    from pyg_ckd.views import full, only, without

_HOME = {
    'CKD': 'balance',
    'Recommendation': 'train',
    'Teacher': 'balance',
    'TripletLoader': 'triplet_loader',
    'as_recommender': 'nn',
    'check': 'graph',
    'diagnose': 'inspect',
    'evaluate': 'ranking',
    'evaluate_users': 'ranking',
    'evaluate_views': 'ranking',
    'explain': 'inspect',
    'fit': 'train',
    'fit_teachers': 'train',
    'from_interactions': 'datasets.from_interactions',
    'full': 'views',
    'only': 'views',
    'rank': 'ranking',
    'recommend': 'ranking',
    'without': 'views',
}
_SUBPACKAGES = (
    'analysis',
    'balance',
    'datasets',
    'graph',
    'inspect',
    'kernels',
    'metrics',
    'nn',
    'objectives',
    'ranking',
    'testing',
    'train',
    'transforms',
    'views',
)

__all__ = [
    'CKD',
    'Recommendation',
    'Teacher',
    'TripletLoader',
    'as_recommender',
    'check',
    'diagnose',
    'evaluate',
    'evaluate_users',
    'evaluate_views',
    'explain',
    'fit',
    'fit_teachers',
    'from_interactions',
    'full',
    'only',
    'rank',
    'recommend',
    'without',
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f'pyg_ckd.{_HOME[name]}'), name)
        globals()[name] = value
        return value
    if name in _SUBPACKAGES:
        return import_module(f'pyg_ckd.{name}')
    raise AttributeError(f"module 'pyg_ckd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBPACKAGES})
