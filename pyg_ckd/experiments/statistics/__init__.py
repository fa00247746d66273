"""Whether one recommender is better than another, or was lucky."""

from ._compare import compare
from .bootstrap import bootstrap_interval
from .comparison import Comparison
from .differences import unlike
from .p_values import holm, paired_test_seeds, paired_test_users

__all__ = [
    'Comparison',
    'bootstrap_interval',
    'compare',
    'holm',
    'paired_test_seeds',
    'paired_test_users',
    'unlike',
]
