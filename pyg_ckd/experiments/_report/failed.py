"""Runs that failed."""

from __future__ import annotations

from pyg_ckd._shown.page.section import Point, Points, Section
from pyg_ckd.experiments._report.material import Material

#: How many characters of a reason are shown.
LONGEST = 400


def failed_section(material: Material) -> Section | None:
    """Return the failed runs by reason."""
    reasons: dict[str, list[str]] = {}
    for result in material.failed:
        run = result.run
        name = f'{run.backbone} {run.method}, seed {run.seed}'
        reasons.setdefault(result.error, []).append(name)
    points = [
        Point('; '.join(names), shortened(reason), 'loss')
        for reason, names in reasons.items()
    ]
    if not points:
        return None
    return Section(
        'failed',
        'Failed runs',
        'They count for nothing on this page. Once the reason is gone, run '
        'the same command again with --retry.',
        [Points(points)],
    )


def shortened(text: str) -> str:
    """Return a text that is not too long."""
    text = text.strip()
    return text if len(text) <= LONGEST else f'{text[:LONGEST]} …'
