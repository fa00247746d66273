"""Counterfactual knowledge distillation, piece by piece."""

from .effects import effects, modality_weights
from .generic_loss import GenericLoss, generic_loss
from .specific_loss import SpecificLoss, specific_loss
from .teacher import Teacher

__all__ = [
    'GenericLoss',
    'SpecificLoss',
    'Teacher',
    'effects',
    'generic_loss',
    'modality_weights',
    'specific_loss',
]
