"""What came out: tables, plots and reports."""

from .diagnose import (
    Diagnosis,
    diagnose,
    rank_agreement,
    weights_and_gaps,
)
from .explain import Explanation, explain
from .plots import (
    plot_curves,
    plot_degrees,
    plot_gains,
    plot_levels,
    plot_views,
    plot_weights,
)
from .report import report
from .results import (
    Result,
    load_results,
    markdown_table,
    save_result,
    summarize,
)
from .significance import (
    Comparison,
    bootstrap_interval,
    compare,
    holm,
    paired_test_seeds,
    paired_test_users,
)

__all__ = [
    'Comparison',
    'Diagnosis',
    'Explanation',
    'Result',
    'bootstrap_interval',
    'compare',
    'diagnose',
    'explain',
    'holm',
    'load_results',
    'markdown_table',
    'paired_test_seeds',
    'paired_test_users',
    'plot_curves',
    'plot_degrees',
    'plot_gains',
    'plot_levels',
    'plot_views',
    'plot_weights',
    'rank_agreement',
    'report',
    'save_result',
    'summarize',
    'weights_and_gaps',
]
