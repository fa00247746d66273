"""Plots of results."""

from pyg_ckd._shown.page.svg import to_svg

from .curves import plot_curves
from .degrees import degree_changes, plot_degrees
from .gains import plot_gains
from .levels import plot_levels
from .views import plot_views
from .weights import plot_weights

__all__ = [
    'degree_changes',
    'plot_curves',
    'plot_degrees',
    'plot_gains',
    'plot_levels',
    'plot_views',
    'plot_weights',
    'to_svg',
]
