"""Transforms of user-item graphs."""

from .ablate_modality import AblateModality
from .co_occurrence import CoOccurrence
from .feature_pca import FeaturePCA
from .item_knn import ItemKNN, nearest_neighbors
from .missing_modality import MissingModality
from .noisy_modality import NoisyModality
from .normalized_adjacency import NormalizedAdjacency, normalized
from .standardize_modality import StandardizeModality
from .train_on_all import TrainOnAll

__all__ = [
    'AblateModality',
    'CoOccurrence',
    'FeaturePCA',
    'ItemKNN',
    'MissingModality',
    'NoisyModality',
    'NormalizedAdjacency',
    'StandardizeModality',
    'TrainOnAll',
    'nearest_neighbors',
    'normalized',
]
