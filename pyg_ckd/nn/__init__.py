"""Recommenders as PyTorch Geometric modules, and their graph layers."""

from .conv import (
    DotAttentionConv,
    EgoConv,
    LatentStructure,
    MMGCNConv,
    PreferenceRouting,
)
from .cosine import Cosine
from .door import as_recommender
from .models import (
    BM3,
    BPRMF,
    FREEDOM,
    GRCN,
    LATTICE,
    MGCN,
    MICRO,
    MMGCN,
    SMORE,
    VBPR,
    Backbone,
    EgoGCN,
    FeatureKNN,
    FixedEmbeddings,
    InteractionKNN,
    LGMRec,
    LightGCN,
    Popularity,
)
from .recommender import Recommender

__all__ = [
    'BM3',
    'BPRMF',
    'FREEDOM',
    'GRCN',
    'LATTICE',
    'MGCN',
    'MICRO',
    'MMGCN',
    'SMORE',
    'VBPR',
    'Backbone',
    'Cosine',
    'DotAttentionConv',
    'EgoConv',
    'EgoGCN',
    'FeatureKNN',
    'FixedEmbeddings',
    'InteractionKNN',
    'LGMRec',
    'LatentStructure',
    'LightGCN',
    'MMGCNConv',
    'Popularity',
    'PreferenceRouting',
    'Recommender',
    'as_recommender',
]
