"""One recommender a file."""

from .backbone import Backbone
from .bm3 import BM3
from .bpr_mf import BPRMF
from .ego_gcn import EgoGCN
from .feature_knn import FeatureKNN
from .fixed_embeddings import FixedEmbeddings
from .freedom import FREEDOM
from .grcn import GRCN
from .interaction_knn import InteractionKNN
from .lattice import LATTICE
from .lgmrec import LGMRec
from .light_gcn import LightGCN
from .mgcn import MGCN
from .micro import MICRO
from .mmgcn import MMGCN
from .popularity import Popularity
from .smore import SMORE
from .vbpr import VBPR

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
    'EgoGCN',
    'FeatureKNN',
    'FixedEmbeddings',
    'InteractionKNN',
    'LGMRec',
    'LightGCN',
    'Popularity',
]
