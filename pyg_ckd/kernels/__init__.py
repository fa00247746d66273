"""Sparse products, top-k with a rule for ties: what the rest is fast by."""

from .edges import Edges
from .ranks import Ranks
from .sparse import Graph, Uniform, spmm
from .topk import stable_topk

__all__ = ['Edges', 'Graph', 'Ranks', 'Uniform', 'spmm', 'stable_topk']
