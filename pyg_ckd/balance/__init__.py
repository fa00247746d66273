"""Ways to keep the modalities of a recommender in balance."""

from ._effects import effects, modality_weights
from ._failure_signs import failure_signs
from .agm import AGM
from .balance import Balance, Teach
from .ckd import CKD
from .counterfactual_weights import CounterfactualWeights
from .dcd import DCD
from .generic_loss import GenericLoss
from .hinge import Hinge
from .list_loss import ListLoss
from .modality_dropout import ModalityDropout
from .ogm_ge import OGMGE
from .rce_kd import RCEKD
from .rrd import RRD
from .soft_cross_entropy import SoftCrossEntropy
from .teacher import Teacher
from .teachers import Teachers
from .umt import UMT

__all__ = [
    'AGM',
    'CKD',
    'DCD',
    'OGMGE',
    'RCEKD',
    'RRD',
    'UMT',
    'Balance',
    'CounterfactualWeights',
    'GenericLoss',
    'Hinge',
    'ListLoss',
    'ModalityDropout',
    'SoftCrossEntropy',
    'Teach',
    'Teacher',
    'Teachers',
    'effects',
    'failure_signs',
    'modality_weights',
]
