"""How a model uses its modalities, as a whole and for one recommendation."""

from pyg_ckd.ranking._explain import Explanation, explain

from ._diagnose import diagnose
from ._knock_out import KnockOut, knock_out
from .agreement import rank_agreement, weights_and_gaps
from .diagnosis import Diagnosis

__all__ = [
    'Diagnosis',
    'Explanation',
    'KnockOut',
    'diagnose',
    'explain',
    'knock_out',
    'rank_agreement',
    'weights_and_gaps',
]
