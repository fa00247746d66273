"""How a model uses its modalities, as a whole and for one recommendation."""

from .agreement import rank_agreement, weights_and_gaps
from .diagnose import diagnose
from .diagnosis import Diagnosis
from .explain import Explanation, explain

__all__ = [
    'Diagnosis',
    'Explanation',
    'diagnose',
    'explain',
    'rank_agreement',
    'weights_and_gaps',
]
