"""Which rows of a backbone a plot shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pyg_ckd.experiments.method import Method
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import matching
from pyg_ckd.inspect.colors import COLORS, CYCLE

PLAIN = Method.student('CKD')
#: What plots call the others beside a student.
OTHERS = ('trained alone', 'base')


@dataclass(frozen=True)
class Shown:
    """The runs of one backbone before and after balancing.

    Args:
        base (list[Result]): The base.
        student (list[Result]): One student of it.
        teachers (list[Result]): Models of one modality each.
    """

    base: list[Result] = field(default_factory=list)
    student: list[Result] = field(default_factory=list)
    teachers: list[Result] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the student is called; empty without one."""
        name = str(self.student[0].run.method) if self.student else ''
        return f'{name} (student)' if name in OTHERS else name

    @property
    def color(self) -> str:
        """The colour of the student."""
        is_ckd = bool(self.student) and _is_ckd(self.student[0].run.method)
        return COLORS['CKD'] if is_ckd else CYCLE[2]

    @property
    def parts(self) -> dict[str, tuple[str, list[Result]]]:
        """The colour and the runs of each label that has any."""
        parts = {
            'trained alone': (COLORS['trained alone'], self.teachers),
            'base': (COLORS['base'], self.base),
            self.name: (self.color, self.student),
        }
        return {label: part for label, part in parts.items() if part[1]}


def shown_of(runs: Sequence[Result], student: Method | None = None) -> Shown:
    """Return what a plot shows of one backbone.

    The base and the teachers are those of the student's objective, or without
    a student the plain ones.

    Args:
        runs: Results of one backbone.
        student: The student to show. (default: plain CKD, or else CKD of any
            kind, or else the first student)
    """
    methods = list(dict.fromkeys(run.run.method for run in runs))
    if student is None:
        students = [m for m in methods if m.kind == 'student']
        student = min(students, key=_rank, default=None)
    reference = (student and student.reference) or Method()
    objective = student.objective if student else ''
    base = matching(methods, reference)
    student = matching(methods, student) if student else None
    return Shown(
        base=[r for r in runs if base == r.run.method],
        student=[r for r in runs if student == r.run.method],
        teachers=[
            r
            for r in runs
            if r.run.method.kind == 'teacher'
            and r.run.method.objective == objective
        ],
    )


def by_backbone(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return results by backbone."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.run.backbone, []).append(result)
    return groups


def _is_ckd(method: Method) -> bool:
    return method.balance == 'CKD'


def _rank(method: Method) -> int:
    """Return how far a student is from plain CKD."""
    if method.same_as(PLAIN):
        return 0
    if replace(method, objective='').same_as(PLAIN):
        return 1
    return 2 if _is_ckd(method) else 3
