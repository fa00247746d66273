"""Figures as parts of a page."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_svg(figure: Figure, name: str) -> str:
    """Return a figure as an SVG element to be put into a page.

    Text stays text, in the font of the page. Black becomes ``currentColor``
    and any other colour, such as ``#d55e00``, a variable with this default,
    ``var(--d55e00, #d55e00)``, so that a style sheet can set both for dark
    screens. The same figure gives the same text.

    Args:
        figure: The figure.
        name: What the ids in the element start with; they are unique in a page
            if this is.
    """
    from matplotlib import rc_context

    file = StringIO()
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'pyg_ckd'}):
        figure.savefig(file, format='svg', transparent=True)
    svg = file.getvalue()
    # Leave out the header, and what has a date or styles the whole page:
    svg = svg[svg.index('<svg') :]
    svg = re.sub(r'<(metadata|style).*?</\1>', '', svg, flags=re.DOTALL)
    svg = re.sub(
        r' (xmlns(:xlink)?|width|height)="[^"]*(pt|http[^"]*)"', '', svg
    )
    svg = re.sub(r'( id="| xlink:href="#|url\(#)', rf'\1{name}-', svg)
    svg = svg.replace(' xlink:href=', ' href=')
    return re.sub(r': (#[0-9a-f]{6})\b', lambda m: f': {themed(m[1])}', svg)


def themed(color: str) -> str:
    """Return a colour that a style sheet can set.

    Example:
        >>> themed('#d55e00'), themed('#000000')
        ('var(--d55e00, #d55e00)', 'currentColor')
    """
    if color == '#000000':
        return 'currentColor'
    return f'var(--{color[1:]}, {color})'
