"""Metrics: functions of a ranking and the length :math:`K` of its lists."""

from .accuracy import (
    average_precision,
    found_hits_ndcg,
    hit_ratio,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
)
from .beyond_accuracy import (
    average_popularity,
    coverage,
    gini,
    novelty,
    tail_recall,
)
from .summary import (
    BEYOND,
    METRICS,
    Metric,
    Protocol,
    check_metrics,
    hits,
    means,
    per_user,
)

__all__ = [
    'BEYOND',
    'METRICS',
    'Metric',
    'Protocol',
    'average_popularity',
    'average_precision',
    'check_metrics',
    'coverage',
    'found_hits_ndcg',
    'gini',
    'hit_ratio',
    'hits',
    'means',
    'ndcg',
    'novelty',
    'per_user',
    'precision',
    'recall',
    'reciprocal_rank',
    'tail_recall',
]
