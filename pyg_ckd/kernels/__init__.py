"""Sparse products, top-k with a rule for ties: what the rest is fast by."""

from .allocator import memory_reused
from .edges import Edges
from .ranks import Ranks
from .sparse import Graph, Uniform, spmm
from .topk import stable_topk

__all__ = [
    'Edges',
    'Graph',
    'Ranks',
    'Uniform',
    'memory_reused',
    'spmm',
    'stable_topk',
]
