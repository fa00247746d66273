"""Transforms of user-item graphs."""

from .ablate_modality import AblateModality
from .item_knn import ItemKNN
from .normalized_adjacency import NormalizedAdjacency

__all__ = ['AblateModality', 'ItemKNN', 'NormalizedAdjacency']
