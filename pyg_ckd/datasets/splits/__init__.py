"""Splits of interactions into training, validation and test."""

from .benchmark_split import BenchmarkSplit
from .cold_item_split import ColdItemSplit
from .lattice_split import LATTICESplit
from .leave_one_out import LeaveOneOut
from .mmrec_split import MMRecSplit
from .names import as_split
from .published_split import PublishedSplit
from .random_split import RandomSplit
from .split import Split
from .time_split import TimeSplit

__all__ = [
    'BenchmarkSplit',
    'ColdItemSplit',
    'LATTICESplit',
    'LeaveOneOut',
    'MMRecSplit',
    'PublishedSplit',
    'RandomSplit',
    'Split',
    'TimeSplit',
    'as_split',
]
