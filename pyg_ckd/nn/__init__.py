"""Recommenders as PyTorch Geometric modules."""

from .models import FREEDOM, VBPR, LightGCN, Recommender

__all__ = ['FREEDOM', 'VBPR', 'LightGCN', 'Recommender']
