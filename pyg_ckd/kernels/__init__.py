"""Sparse products, top-k with a rule for ties: what the rest is fast by."""

from .edges import Edges
from .sparse import Graph, Uniform, spmm
from .topk import stable_topk

__all__ = ['Edges', 'Graph', 'Uniform', 'spmm', 'stable_topk']
