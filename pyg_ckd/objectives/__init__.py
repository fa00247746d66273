"""What training minimises."""

from .bpr import BPR
from .objective import Objective
from .softmax import Softmax
from .step import Batch, Step

__all__ = ['BPR', 'Batch', 'Objective', 'Softmax', 'Step']
