"""What the page is made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyg_ckd.experiments.cost import minutes_with_teachers
from pyg_ckd.experiments.plots.shown import shown_of
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import Key, current, failures, rows_of
from pyg_ckd.experiments.statistics import Comparison
from pyg_ckd.experiments.tables import (
    bases_of,
    best_bases,
    best_bases_of,
    comparisons,
)


@dataclass(frozen=True)
class Material:
    """Results of one data set, brought into order.

    Args:
        results (list[Result]): One version of each row.
        rows (dict): The same by row.
        bases (dict): The runs that each row is compared with, if any.
        against (dict): The comparison of each row that has a base.
        against_best (dict): That with the best of several bases.
        with_teachers (dict): Minutes of each row and of what it learns from.
        failed (list[Result]): Runs that failed.
        notes (list[str]): What was left out.
    """

    results: list[Result]
    rows: dict[Key, list[Result]]
    bases: dict[Key, list[Result]]
    against: Mapping[Key, Comparison]
    against_best: Mapping[Key, Comparison]
    with_teachers: Mapping[Key, float]
    failed: list[Result]
    notes: list[str]

    @classmethod
    def of(
        cls,
        results: Iterable[Result],
        against: Mapping[Key, Comparison] | None = None,
        against_best: Mapping[Key, Comparison] | None = None,
    ) -> Material:
        """Return the material that results make.

        Args:
            results: Results of one data set.
            against: What :func:`~pyg_ckd.experiments.comparisons`
                returned for them, if it was called.
            against_best: The same for the best of several bases.
        """
        results = list(results)
        kept, notes = current(results)
        if against is None:
            against = comparisons(results)
        if against_best is None:
            against_best = comparisons(results, bases=best_bases_of(results))
        rows = rows_of(kept)
        return cls(
            results=[result for runs in rows.values() for result in runs],
            rows=rows,
            bases=bases_of(results),
            against={key: against[key] for key in rows if key in against},
            against_best={
                key: against_best[key] for key in rows if key in against_best
            },
            with_teachers=minutes_with_teachers(results),
            failed=failures(results),
            notes=notes,
        )

    @property
    def best_bases(self) -> list[Key]:
        """The best base of each backbone that has several."""
        return list(best_bases(self.rows).values())

    @property
    def backbones(self) -> dict[str, list[Result]]:
        """Results by backbone, in the order of rows."""
        groups: dict[str, list[Result]] = {}
        for (_, backbone, _), runs in self.rows.items():
            groups.setdefault(backbone, []).extend(runs)
        return groups

    @property
    def plotted(self) -> dict[str, list[Result]]:
        """Results by backbone, with the base of the student that is shown."""
        groups = self.backbones
        for key in self.rows:
            runs = groups[key[1]]
            student = shown_of(runs).student
            base = self.bases.get(key)
            if (
                student
                and base
                and any(run is student[0] for run in self.rows[key])
            ):
                method = base[0].run.method
                others = [run for run in runs if run.run.method != method]
                groups[key[1]] = [*base, *others]
        return groups

    def methods(self, backbone: str) -> dict[str, list[Result]]:
        """Return the results of a backbone by method."""
        return {
            method: runs
            for (_, name, method), runs in self.rows.items()
            if name == backbone
        }
