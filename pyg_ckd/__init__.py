"""Multimodal recommendation with balanced modalities, on PyTorch Geometric.

What the first page needs is here; everything else is in the subpackages. All
is imported when it is asked for, so that PyTorch Lightning is loaded only by
who trains with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyg_ckd._version import __version__ as __version__

if TYPE_CHECKING:
    from pyg_ckd import balance as balance
    from pyg_ckd import datasets as datasets
    from pyg_ckd import graph as graph
    from pyg_ckd import inspect as inspect
    from pyg_ckd import kernels as kernels
    from pyg_ckd import metrics as metrics
    from pyg_ckd import nn as nn
    from pyg_ckd import objectives as objectives
    from pyg_ckd import ranking as ranking
    from pyg_ckd import serving as serving
    from pyg_ckd import train as train
    from pyg_ckd import transforms as transforms
    from pyg_ckd import views as views
    from pyg_ckd.balance import CKD as CKD
    from pyg_ckd.balance import Teacher as Teacher
    from pyg_ckd.datasets._from_interactions import (
        from_interactions as from_interactions,
    )
    from pyg_ckd.graph import check as check
    from pyg_ckd.inspect import diagnose as diagnose
    from pyg_ckd.inspect import explain as explain
    from pyg_ckd.inspect import knock_out as knock_out
    from pyg_ckd.nn import as_recommender as as_recommender
    from pyg_ckd.ranking import evaluate as evaluate
    from pyg_ckd.ranking import evaluate_users as evaluate_users
    from pyg_ckd.ranking import evaluate_views as evaluate_views
    from pyg_ckd.ranking import rank as rank
    from pyg_ckd.ranking import recommend as recommend
    from pyg_ckd.serving import Served as Served
    from pyg_ckd.serving import load as load
    from pyg_ckd.serving import save as save
    from pyg_ckd.train import Recommendation as Recommendation
    from pyg_ckd.train import fit as fit
    from pyg_ckd.train import fit_teachers as fit_teachers
    from pyg_ckd.triplet_loader import TripletLoader as TripletLoader
    from pyg_ckd.views import full as full
    from pyg_ckd.views import only as only
    from pyg_ckd.views import without as without

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
    'from_interactions': 'datasets._from_interactions',
    'full': 'views',
    'knock_out': 'inspect',
    'only': 'views',
    'rank': 'ranking',
    'Served': 'serving',
    'load': 'serving',
    'recommend': 'ranking',
    'save': 'serving',
    'without': 'views',
}
# `pyg_ckd.testing` is imported by name only, as it needs pytest:
_SUBPACKAGES = (
    'balance',
    'datasets',
    'experiments',
    'graph',
    'inspect',
    'kernels',
    'metrics',
    'nn',
    'objectives',
    'ranking',
    'serving',
    'train',
    'transforms',
    'views',
)

__all__ = sorted(_HOME)


# Type checkers, who would take any name for one that is here, do not see it:
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _HOME:
            value = getattr(import_module(f'pyg_ckd.{_HOME[name]}'), name)
            globals()[name] = value
            return value
        if name in _SUBPACKAGES:
            return import_module(f'pyg_ckd.{name}')
        raise AttributeError(f"module 'pyg_ckd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBPACKAGES])
