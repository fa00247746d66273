"""What training minimises."""

from .bpr import BPR
from .nlgcl import NLGCL
from .objective import Objective
from .softmax import Softmax
from .step import Batch, Step

__all__ = ['BPR', 'NLGCL', 'Batch', 'Objective', 'Softmax', 'Step']
