"""One training run, before it is run."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pyg_ckd._version import __version__
from pyg_ckd.experiments.method import Method
from pyg_ckd.experiments.plain import check_kinds, kinds_of
from pyg_ckd.kernels.arguments import as_seed


@dataclass(frozen=True)
class Run:
    """All that the outcome of a training depends on.

    Not part of it are the device and the number of threads, which change last
    digits, and the revision of the library between two versions: they are in
    :attr:`Result.environment <pyg_ckd.experiments.Result>`.

    Args:
        dataset (str): The name of the data set.
        backbone (str): The name of the backbone.
        method (Method): How it is trained.
        seed (int): The random seed.
        settings (dict): The effective settings, see
            :meth:`Settings.effective <pyg_ckd.experiments.Settings.effective>`.
        data (str): The fingerprint of the data set, all its splits included.
        teachers (tuple[str]): The :attr:`key` of each run that it learns from.
        version (str): The version of the library.

    Raises:
        ValueError: If ``seed`` is no whole number from 0 on of 32 bits.

    Example:
        >>> run = Run('shop', 'VBPR', Method(), 0, {'train': {'lr': 1}})
        >>> same = Run('shop', 'VBPR', Method(), 0, {'train': {'lr': 1.0}})
        >>> run.key == same.key, str(run)
        (True, 'VBPR base 0')
    """

    dataset: str
    backbone: str
    method: Method
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    data: str = ''
    teachers: tuple[str, ...] = ()
    version: str = __version__

    def __post_init__(self) -> None:
        object.__setattr__(self, 'seed', as_seed('Run', self.seed, bits=32))
        object.__setattr__(self, 'settings', copy.deepcopy(self.settings))

    @cached_property
    def key(self) -> str:
        """What tells a run from others, 16 hexadecimal digits.

        Runs with the same key train alike; what they are called does not
        count, and neither does whether a setting is written out.
        """
        method = self.method
        parts = {
            'dataset': self.dataset,
            'backbone': self.backbone,
            'kind': method.kind,
            'modality': method.modality,
            'taught': [method.teachers, method.taught],
            'seed': self.seed,
            'settings': _canonical(self.settings),
            'data': self.data,
            'teachers': sorted(self.teachers),
            'version': self.version,
        }
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            'dataset': self.dataset,
            'backbone': self.backbone,
            'method': self.method.to_dict(),
            'seed': self.seed,
            'settings': dict(self.settings),
            'data': self.data,
            'teachers': list(self.teachers),
            'version': self.version,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Run:
        """Return the run of plain values.

        Raises:
            ValueError: If they are those of no run.
        """
        kinds = {**kinds_of(cls), 'method': Mapping}
        check_kinds({'run': values}, {'run': Mapping}, 'no run')
        check_kinds(values, kinds, 'no run')
        try:
            method = Method(**values['method'])
            teachers = tuple(values['teachers'])
            return cls(**{**values, 'method': method, 'teachers': teachers})
        except (KeyError, TypeError) as error:
            raise ValueError(f'no run: {error}') from error

    def __str__(self) -> str:
        return f'{self.backbone} {self.method} {self.seed}'


def _canonical(value: Any) -> Any:
    """Return a value in which 1 and 1.0 are the same."""
    if isinstance(value, Mapping):
        return {name: _canonical(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
