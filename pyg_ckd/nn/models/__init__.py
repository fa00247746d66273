"""One recommender a file."""

from .freedom import FREEDOM
from .light_gcn import LightGCN
from .recommender import Recommender
from .vbpr import VBPR

__all__ = ['FREEDOM', 'VBPR', 'LightGCN', 'Recommender']
