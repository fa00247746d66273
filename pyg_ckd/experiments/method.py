"""How a backbone is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from pyg_ckd.balance import AGM, CKD, OGMGE, UMT, Balance, ModalityDropout
from pyg_ckd.experiments.plain import check_kinds
from pyg_ckd.objectives import BPR, Objective, Softmax

Kind = Literal['base', 'teacher', 'student', 'ensemble']
Taught = Literal['each', 'full']

#: Balances by name. Those with teachers take them first.
BALANCES: dict[str, type[Balance]] = {
    'CKD': CKD,
    'OGMGE': OGMGE,
    'AGM': AGM,
    'UMT': UMT,
    'ModalityDropout': ModalityDropout,
}
#: Balances that are taught.
TAUGHT = ('CKD', 'UMT')
#: Objectives by name; the last one is of cosines, see
#: :class:`~pyg_ckd.nn.Cosine`.
OBJECTIVES: dict[str, type[Objective]] = {
    'BPR': BPR,
    'Softmax': Softmax,
    'CosineSoftmax': Softmax,
}
#: Settings with which a balance changes nothing, so that it is left out.
OFF: dict[str, dict[str, Any]] = {
    'CKD': {'strength': 0.0},
    'OGMGE': {'alpha': 0.0, 'noise': False},
    'AGM': {'alpha': 0.0},
    'UMT': {'strength': 0.0},
    'ModalityDropout': {'p': 0.0},
}
SPELLED = {
    'OGMGE': 'OGM-GE',
    'ModalityDropout': 'modality dropout',
    'Softmax': 'softmax',
    'CosineSoftmax': 'cosine softmax',
}


@dataclass(frozen=True)
class Method:
    """How a backbone is trained, as a value.

    Args:
        kind (str, optional): ``"base"``, trained by its objective alone;
            ``"teacher"``, a base that sees one modality; ``"student"``,
            trained with a balance; or ``"ensemble"``, the sum of the scores
            of all teachers, which is not trained. (default: :obj:`"base"`)
        modality (str, optional): The modality of a teacher; empty for all, one
            after the other. (default: :obj:`""`)
        objective (str, optional): One of :obj:`OBJECTIVES`; empty for the
            loss that a backbone brings, or else BPR. (default: :obj:`""`)
        balance (str, optional): Of a student, one of :obj:`BALANCES`.
            (default: :obj:`""`)
        teachers (str, optional): Who teaches a student: ``"own"`` teachers of
            its backbone, one a modality; its ``"base"``; their ``"ensemble"``;
            or the teachers of another backbone, by its name, of a baseline
            its base for each modality. The last two are brought to the spread
            of the own ones. (default: ``"own"`` of a balance that is taught)
        taught (str, optional): What they teach: ``"each"`` modality alone, or
            the ``"full"`` view, which the base, the ensemble, or the base of
            another backbone can teach. (default: :obj:`"each"`)
        generation (int, optional): Of a student that its base teaches: in the
            second generation the student of the first one teaches, and so on.
            (default: :obj:`1`)
        changes (dict, optional): Settings that differ from those of the
            backbone, by section, such as ``{'CKD': {'gate': True}}``.
            (default: :obj:`{}`)
        name (str, optional): What a reader calls it; by default made of the
            above. (default: :obj:`""`)

    Raises:
        ValueError: If a part is unknown, of another type, or is one that the
            kind has not.

    Example:
        >>> str(Method()), str(Method('teacher', modality='text'))
        ('base', 'text alone')
        >>> str(Method.student('CKD', objective='Softmax'))
        'CKD, softmax'
    """

    kind: Kind = 'base'
    modality: str = ''
    objective: str = ''
    balance: str = ''
    teachers: str = ''
    taught: Taught = 'each'
    generation: int = 1
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    name: str = ''

    def __post_init__(self) -> None:
        texts = dict.fromkeys(vars(self), str)
        kinds = {**texts, 'changes': Mapping, 'generation': int}
        check_kinds(vars(self), kinds, 'Method')
        self._check('kind', self.kind, get_args(Kind))
        self._check('taught', self.taught, get_args(Taught))
        self._check('objective', self.objective, ('', *OBJECTIVES))
        is_student = self.kind == 'student'
        balances = tuple(BALANCES) if is_student else ('',)
        self._check('balance', self.balance, balances)
        if self.balance in TAUGHT and not self.teachers:
            object.__setattr__(self, 'teachers', 'own')
        if self.teachers and self.balance not in TAUGHT:
            raise ValueError(
                f"'teachers' needs to be empty in 'Method' unless the balance "
                f"is one of {TAUGHT} (got '{self.teachers}')"
            )
        if self.taught == 'full' and self.teachers in ('', 'own'):
            raise ValueError(
                f"'taught' is 'full' in 'Method', which teachers of one "
                f"modality cannot teach (got '{self.teachers}')"
            )
        if self.generation < 1 or (
            self.generation > 1 and self.teachers != 'base'
        ):
            raise ValueError(
                f"'generation' needs to be 1 in 'Method', or more with the "
                f"teachers 'base' (got {self.generation} with "
                f"'{self.teachers}')"
            )
        if self.changes and self.kind == 'ensemble':
            raise ValueError(
                f"'changes' needs to be empty in 'Method' for an ensemble, "
                f'which is not trained (got {dict(self.changes)})'
            )
        if self.modality and self.kind != 'teacher':
            raise ValueError(
                f"'modality' is that of a teacher in 'Method' (got "
                f"'{self.modality}' for the kind '{self.kind}')"
            )
        try:
            changes = json.loads(json.dumps(self.changes))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"'changes' needs plain values in 'Method' ({error})"
            ) from error
        object.__setattr__(self, 'changes', changes)

    @classmethod
    def student(cls, balance: str, **kwargs: Any) -> Method:
        """Return a method that trains with a balance.

        Args:
            balance: One of :obj:`BALANCES`.
            **kwargs: Further arguments of the class.
        """
        return cls('student', balance=balance, **kwargs)

    @property
    def reference(self) -> Method | None:
        """The base that it is compared with, if with any.

        A student and an ensemble have the base of the same objective, a base
        with another objective, other settings or another name, the plain one.
        """
        if self.kind == 'teacher':
            return None
        if self.kind == 'base':
            plain = Method()
            return None if self == plain else plain
        return Method(objective=self.objective)

    def same_as(self, other: Method) -> bool:
        """Return whether only the names differ."""
        return replace(self, name='') == replace(other, name='')

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from the defaults, as plain values."""
        plain = asdict(Method())
        return {
            name: value
            for name, value in asdict(self).items()
            if value != plain[name]
        }

    def __str__(self) -> str:
        if self.name:
            return self.name
        if self.kind == 'teacher':
            text = f'{self.modality or "each modality"} alone'
        else:
            text = SPELLED.get(self.balance, self.balance) or self.kind
        if self.teachers not in ('', 'own'):
            text += f' taught by {self.teachers}'
            text += ' as a whole' * (self.taught == 'full')
        if self.generation > 1:
            text += f', generation {self.generation}'
        if self.objective:
            text += f', {SPELLED.get(self.objective, self.objective)}'
        return ', '.join([text, *_spelled(self.changes)])

    def _check(self, name: str, value: str, known: tuple[str, ...]) -> None:
        if value not in known:
            raise ValueError(
                f"'{name}' needs to be one of {known} in 'Method' (got "
                f"'{value}'"
                + (
                    f" for the kind '{self.kind}')"
                    if name == 'balance'
                    else ')'
                )
            )


def is_off(balance: Mapping[str, Any] | None) -> bool:
    """Return whether effective settings of a balance switch it off."""
    if not balance or balance.get('name') not in OFF:
        return False
    off = OFF[balance['name']]
    return all(balance.get(name) == value for name, value in off.items())


def _spelled(changes: Mapping[str, Any]) -> Iterator[str]:
    """Yield settings that differ, those of parts one by one."""
    for name, value in changes.items():
        if isinstance(value, Mapping) and value:
            yield from _spelled(value)
        else:
            yield f'{name} {value}'


def _with_list(loss: str, spelled: str) -> Method:
    """Return CKD with a generic loss on lists, of its own settings."""
    changes = {'CKD': {'on_random': {'name': loss}}}
    return Method.student('CKD', changes=changes, name=f'CKD, {spelled}')


BASE = Method()
TEACHERS = Method('teacher')
#: Methods by the names that the command line knows them by.
METHODS: dict[str, Method] = {
    'base': BASE,
    'teachers': TEACHERS,
    'ckd': Method.student('CKD'),
    'ckd-published': Method.student(  # that of `CKD.published`
        'CKD',
        changes={
            'CKD': {
                'strength': 0.01,
                'on_batch': {'name': 'Hinge', 'selective': False},
                'on_random': {
                    'name': 'SoftCrossEntropy',
                    'tau': 0.1,
                    'num_pairs': 5000,
                    'weight': 5.0,
                    'group_size': 1,
                    'eps': 1e-8,
                    'relative': False,
                    'band': None,
                },
                'weights': {
                    'name': 'CounterfactualWeights',
                    'reference': 'student',
                    'effect': 'individual',
                },
                'gate': False,
            }
        },
        name='CKD, published',
    ),
    'ckd-gate': Method.student(
        'CKD', changes={'CKD': {'gate': True}}, name='CKD, gate'
    ),
    'ckd-rce-kd': _with_list('RCEKD', 'RCE-KD'),
    'ckd-rrd': _with_list('RRD', 'RRD'),
    'ckd-dcd': _with_list('DCD', 'DCD'),
    'ckd-band': Method.student(
        'CKD',
        changes={'CKD': {'on_random': {'band': 0.1}}},
        name='CKD, pairs alike in popularity',
    ),
    'ckd-nlgcl': Method.student(
        'CKD', changes={'extra': {'nlgcl': 1e-4}}, name='CKD, NLGCL'
    ),
    'self-distilled': Method.student(
        'CKD', teachers='base', name='CKD, self-distilled'
    ),
    'second-generation': Method.student(
        'CKD',
        teachers='base',
        generation=2,
        name='CKD, self-distilled twice',
    ),
    'born-again': Method.student(
        'CKD',
        teachers='base',
        taught='full',
        changes={'CKD': {'on_batch': False, 'weights': False}},
        name='born again',
    ),
    'ensemble-distilled': Method.student(
        'CKD',
        teachers='ensemble',
        taught='full',
        changes={'CKD': {'on_batch': False, 'weights': False}},
        name='ensemble, distilled',
    ),
    'ogm-ge': Method.student('OGMGE'),
    'agm': Method.student('AGM'),
    'umt': Method.student('UMT'),
    'modality-dropout': Method.student('ModalityDropout'),
    'ensemble': Method('ensemble'),
    'item-bias': Method(
        changes={'extra': {'item_bias': True}}, name='base, item bias'
    ),
    'nlgcl': Method(changes={'extra': {'nlgcl': 1e-4}}, name='base, NLGCL'),
}


def named(method: Method) -> Method:
    """Return a method under the name that :obj:`METHODS` has for it, if any.

    Example:
        >>> str(named(Method.student('CKD', teachers='base')))
        'CKD, self-distilled'
    """
    alike = (each for each in METHODS.values() if each.same_as(method))
    return next(alike, method)
