"""One recommender a file."""

from .backbone import Backbone
from .bm3 import BM3
from .bpr_mf import BPRMF
from .ego_gcn import EgoGCN
from .feature_knn import FeatureKNN
from .fixed_embeddings import FixedEmbeddings
from .freedom import FREEDOM
from .graph_filter import GraphFilter
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
from .stair import STAIR
from .vbpr import VBPR
from .whitening import Whitening

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
    'EgoGCN',
    'FeatureKNN',
    'FixedEmbeddings',
    'GraphFilter',
    'InteractionKNN',
    'LGMRec',
    'LightGCN',
    'Popularity',
    'Whitening',
]
