"""What came out: tables, plots and reports."""

from .plots import plot_views, plot_weights
from .results import Result, markdown_table, summarize

__all__ = [
    'Result',
    'markdown_table',
    'plot_views',
    'plot_weights',
    'summarize',
]
