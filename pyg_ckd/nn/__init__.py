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
from .item_bias import ItemBias
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
    STAIR,
    VBPR,
    Backbone,
    EgoGCN,
    FeatureKNN,
    FixedEmbeddings,
    GraphFilter,
    InteractionKNN,
    LGMRec,
    LightGCN,
    Popularity,
    Whitening,
)
from .recommender import Recommender
from .sampled import Sampled

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
    'STAIR',
    'VBPR',
    'Backbone',
    'Cosine',
    'DotAttentionConv',
    'EgoConv',
    'EgoGCN',
    'FeatureKNN',
    'FixedEmbeddings',
    'GraphFilter',
    'InteractionKNN',
    'ItemBias',
    'LGMRec',
    'LatentStructure',
    'LightGCN',
    'MMGCNConv',
    'Popularity',
    'PreferenceRouting',
    'Recommender',
    'Sampled',
    'Whitening',
    'as_recommender',
]
