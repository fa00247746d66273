"""The page as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch_geometric.data import HeteroData

from pyg_ckd._shown.page.render import render
from pyg_ckd._shown.page.section import Section
from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.experiments._report import head
from pyg_ckd.experiments._report.all_rows import rows_section
from pyg_ckd.experiments._report.cost import cost_section
from pyg_ckd.experiments._report.degrees import degrees_section
from pyg_ckd.experiments._report.failed import failed_section
from pyg_ckd.experiments._report.gains import gains_section
from pyg_ckd.experiments._report.knocked_out import knocked_out_section
from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments._report.settings import settings_section
from pyg_ckd.experiments._report.training import curves_section, weights_section
from pyg_ckd.experiments._report.views import views_section
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import Key
from pyg_ckd.experiments.statistics import Comparison


def report(
    results: Iterable[Result],
    path: str | os.PathLike[str],
    title: str = '',
    about: Sequence[str] = (),
    data: HeteroData | None = None,
    problems: Sequence[str] = (),
    against: Mapping[Key, Comparison] | None = None,
    against_best: Mapping[Key, Comparison] | None = None,
) -> Path:
    """Write a page of HTML that shows what came out.

    The page is complete in itself: it loads nothing, adapts to phones, dark
    screens and paper, and is the same for the same results. A section is left
    out where the results lack what it needs. No gain is shown without its
    interval, and none is claimed of runs that were cut short. Failed runs are
    listed and count for nothing. Of several versions of a row the current one
    is shown, see :func:`~pyg_ckd.experiments.current`.

    Args:
        results: Results of one data set.
        path: The file to write. It is either whole or not there.
        title: The title. (default: the name of the data set)
        about: How the results came about, a sentence or more each.
        data: The user-item graph, for the sections on users and items with
            few and many interactions, which need metrics of each user, and
            hits, as well.
        problems: What could not be read, such as
            :attr:`Store.problems <pyg_ckd.experiments.Store.problems>`.
        against: What :func:`~pyg_ckd.experiments.comparisons` returned
            for the results, so that nothing is resampled twice.
            (default: it is called)
        against_best: The same for the best of several bases.

    Raises:
        ValueError: If there are no results, or of several data sets.

    Example:
        >>> import tempfile
        >>> from pyg_ckd.experiments import Method, Result, Run
        >>> run = Run('shop', 'VBPR', Method(), seed=0)
        >>> results = [Result(run, test={'full': {'recall@20': 0.1}})]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report(results, f'{folder}/report.html').name
        'report.html'
    """
    from matplotlib import rc_context

    results = list(results)
    names = sorted({result.run.dataset for result in results})
    if len(names) != 1:
        raise ValueError(
            f"'results' needs to be of one data set (got {names or 'none'})"
        )
    material = Material.of(results, against, against_best)
    with rc_context({'text.parse_math': False}):  # names are no formulas
        sections = _sections(material, about, data)
    about_them = (
        f'{head.subtitle(material) if material.results else ""} '
        f'{head.trained(material.results)}'
    )
    page = render(
        title or f'Results: {names[0]}',
        sections,
        head.CKD,
        about_them,
        [*problems, *material.notes, *head.mixed(material.results)],
    )
    with open_atomic(path) as file:
        file.write(page.encode())
    return Path(path)


def _sections(
    material: Material, about: Sequence[str], data: HeteroData | None
) -> list[Section]:
    """Return the sections that there is something to say in."""
    sections: list[Section | None] = [failed_section(material)]
    if material.results:
        sections = [
            gains_section(material),
            *sections,
            rows_section(material),
            views_section(material),
            knocked_out_section(material),
            weights_section(material),
            curves_section(material),
            degrees_section(material, data, 'user'),
            degrees_section(material, data, 'item'),
            cost_section(material),
            settings_section(material, about),
        ]
    return [section for section in sections if section]
