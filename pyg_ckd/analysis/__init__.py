"""What came out: tables, plots and reports."""

from ._report import report
from .plots import (
    plot_curves,
    plot_degrees,
    plot_gains,
    plot_levels,
    plot_views,
    plot_weights,
)
from .results import Result, load_results, save_result
from .significance import (
    Comparison,
    bootstrap_interval,
    compare,
    holm,
    paired_test_seeds,
    paired_test_users,
)
from .tables import summarize

__all__ = [
    'Comparison',
    'Result',
    'bootstrap_interval',
    'compare',
    'holm',
    'load_results',
    'paired_test_seeds',
    'paired_test_users',
    'plot_curves',
    'plot_degrees',
    'plot_gains',
    'plot_levels',
    'plot_views',
    'plot_weights',
    'report',
    'save_result',
    'summarize',
]
