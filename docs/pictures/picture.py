"""A picture of boxes, arrows and text, written as SVG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

SANS = "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
#: Of text and of lines, to be read on white as well as on black.
INK, LINE = '#7a7a7a', '#8c8c8c'
#: Fills that need dark letters.
LIGHT = ('#c98500', '#56b4e9', '#d55e00', '#999999')

Point = tuple[float, float]


class Picture:
    """A picture of boxes, arrows and text.

    Subscripts are written as in ``D_{full}``.

    Args:
        title: What screen readers say, and what shows under the mouse.
        width: The width of the drawing.
        height: Its height.
        shown: The width at which a wide page shows it.
    """

    def __init__(
        self, title: str, width: float, height: float, shown: float
    ) -> None:
        tall = round(shown * height / width)
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
            f'width="{shown:g}" height="{tall}" '
            f'viewBox="0 0 {width:g} {height:g}" font-family="{SANS}">',
            f'<title>{escape(title)}</title>',
        ]

    def rect(
        self,
        at: Point,
        size: Point,
        fill: str = 'none',
        stroke: str = 'none',
        dash: str = '',
        radius: float = 5,
    ) -> None:
        """Add a rectangle with its upper left corner at a point."""
        (x, y), (width, height) = at, size
        dashed = f' stroke-dasharray="{dash}"' if dash else ''
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" '
            f'height="{height:g}" rx="{radius:g}" fill="{fill}" '
            f'stroke="{stroke}" stroke-width="2"{dashed}/>'
        )

    def circle(self, at: Point, radius: float, fill: str) -> None:
        """Add a disc."""
        x, y = at
        self.parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{fill}"/>'
        )

    def text(
        self,
        at: Point,
        words: str,
        size: float = 16,
        fill: str = INK,
        anchor: str = 'middle',
        weight: int = 500,
        font: str = '',
    ) -> None:
        """Add a line of text whose middle height is at a point."""
        x, y = at
        family = f' font-family="{font}"' if font else ''
        self.parts.append(
            f'<text x="{x:g}" y="{y + 0.35 * size:g}" font-size="{size:g}" '
            f'fill="{fill}" text-anchor="{anchor}" font-weight="{weight}"'
            f'{family}>{_with_subscripts(words, size)}</text>'
        )

    def box(
        self,
        at: Point,
        size: Point,
        *lines: str,
        fill: str = 'none',
        stroke: str = 'none',
        dash: str = '',
        letters: float = 16,
        font: str = '',
    ) -> None:
        """Add a rectangle with lines of text in its middle, the first bold."""
        self.rect(at, size, fill, stroke, dash)
        ink = INK if fill == 'none' else '#111' if fill in LIGHT else '#fff'
        x = at[0] + size[0] / 2
        top = at[1] + size[1] / 2 - (len(lines) - 1) * letters * 0.63
        for place, line in enumerate(lines):
            y = top + place * letters * 1.26
            weight = 600 if place == 0 else 500
            small = letters if place == 0 else letters - 1
            self.text((x, y), line, small, ink, weight=weight, font=font)

    def line(
        self,
        points: Sequence[Point],
        color: str = LINE,
        width: float = 2.5,
        dash: str = '',
    ) -> None:
        """Add a line through points."""
        through = ' '.join(f'{x:g},{y:g}' for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ''
        self.parts.append(
            f'<polyline points="{through}" fill="none" stroke="{color}" '
            f'stroke-width="{width:g}" stroke-linejoin="round"{dashed}/>'
        )

    def arrow(
        self, points: Sequence[Point], color: str = LINE, width: float = 2.5
    ) -> None:
        """Add a line through points that ends in a head."""
        (x0, y0), (x1, y1) = points[-2:]
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        dx, dy = (x1 - x0) / length, (y1 - y0) / length
        head = 6 + 1.6 * width
        back = x1 - head * dx, y1 - head * dy
        self.line([*points[:-1], back], color, width)
        half = head * 0.55
        corners = [
            (x1, y1),
            (back[0] - half * dy, back[1] + half * dx),
            (back[0] + half * dy, back[1] - half * dx),
        ]
        through = ' '.join(f'{x:.4g},{y:.4g}' for x, y in corners)
        self.parts.append(f'<polygon points="{through}" fill="{color}"/>')

    def save(self, path: Path) -> None:
        """Write the file."""
        path.write_text('\n'.join([*self.parts, '</svg>', '']), 'utf-8')


def _with_subscripts(words: str, size: float) -> str:
    """Return text as SVG, in which ``_{...}`` is set lower and smaller."""
    parts = re.split(r'_\{(.*?)\}', words)
    drop, small = 0.22 * size, 0.76 * size
    out = escape(parts[0])
    for low, after in zip(parts[1::2], parts[2::2], strict=True):
        out += f'<tspan dy="{drop:g}" font-size="{small:g}">{escape(low)}'
        # What follows has to be raised again, if it is but a space:
        out += f'</tspan><tspan dy="{-drop:g}">{escape(after) or "&#8203;"}'
        out += '</tspan>'
    return out
