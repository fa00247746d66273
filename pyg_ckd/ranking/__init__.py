"""Rankings of all items: for evaluation and for recommendation."""

from pyg_ckd._ranking import Ranking
from pyg_ckd.nn.evaluating import evaluating

from ._evaluate import (
    evaluate,
    evaluate_hits,
    evaluate_users,
    evaluate_views,
)
from ._rank import Split, embeddings, rank, rank_views
from ._recommend import recommend

__all__ = [
    'Ranking',
    'Split',
    'embeddings',
    'evaluate',
    'evaluate_hits',
    'evaluate_users',
    'evaluate_views',
    'evaluating',
    'rank',
    'rank_views',
    'recommend',
]
