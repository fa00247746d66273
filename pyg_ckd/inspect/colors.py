"""Colours of plots."""

from pyg_ckd._shown.colors import COLORS as COLORS
from pyg_ckd._shown.colors import CYCLE as CYCLE
