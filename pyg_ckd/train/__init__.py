"""Training: plain, uni-modal and distilled."""

from .ckd import CKD
from .fit import fit, fit_teachers
from .recommendation import Recommendation
from .triplet_loader import TripletLoader

__all__ = ['CKD', 'Recommendation', 'TripletLoader', 'fit', 'fit_teachers']
