"""Colours of plots."""

from __future__ import annotations

#: Colours that remain apart for the colour-blind and in grey.
COLORS = {'trained alone': '#999999', 'base': '#56b4e9', 'CKD': '#d55e00'}
CYCLE = ('#0072b2', '#c98500', '#009e73', '#cc79a7', '#882255', '#56b4e9')
