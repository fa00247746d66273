"""Training: plain, uni-modal and distilled."""

from pyg_ckd.triplet_loader import TripletLoader

from .ckd import CKD
from .fit import fit, fit_teachers
from .recommendation import Recommendation

__all__ = ['CKD', 'Recommendation', 'TripletLoader', 'fit', 'fit_teachers']
