"""Means over the steps of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyg_ckd.kernels.ranks import Ranks


@dataclass
class EpochMeans:
    """Means over the steps of an epoch, weighted by the size of a batch.

    Nothing is copied from the device before the means are asked for.

    Example:
        >>> means = EpochMeans()
        >>> means.add({'loss': torch.tensor(1.0)}, size=3)
        >>> means.add({'loss': torch.tensor(5.0)}, size=1)
        >>> means.values()
        {'loss': 2.0}
    """

    _sums: dict[str, Tensor] = field(default_factory=dict)
    _first_bad: dict[str, Tensor] = field(default_factory=dict)
    _size: int = 0
    _step: int = 0
    _of_all: bool = False

    def add(self, scalars: Mapping[str, Tensor], size: int) -> None:
        """Take up a step.

        Args:
            scalars: Its scalars by name.
            size: The size of its batch.
        """
        value = torch.stack([x.detach() for x in scalars.values()]).double()
        bad = torch.where(value.isfinite(), torch.inf, self._step)
        for name in scalars:
            if name not in self._sums:
                self._sums[name] = value.new_zeros(())
                self._first_bad[name] = bad.new_full((), torch.inf)
        sums = torch.stack([self._sums[name] for name in scalars])
        first_bad = torch.stack([self._first_bad[name] for name in scalars])
        sums, first_bad = sums + size * value, torch.minimum(first_bad, bad)
        self._sums.update(zip(scalars, sums.unbind(), strict=True))
        self._first_bad.update(zip(scalars, first_bad.unbind(), strict=True))
        self._size += size
        self._step += 1

    def over(self, ranks: Ranks) -> EpochMeans:
        """Return the means of all processes, unless they are already.

        Args:
            ranks: The processes, all of which have added the same names.
        """
        if ranks.size == 1 or self._of_all or not self._sums:
            return self
        names = list(self._sums)
        sums = torch.stack(list(self._sums.values()))
        first_bad = torch.stack(list(self._first_bad.values()))
        size = ranks.sum(sums.new_tensor([self._size]))
        return EpochMeans(
            dict(zip(names, ranks.sum(sums), strict=True)),
            dict(zip(names, ranks.min(first_bad), strict=True)),
            int(size),
            self._step,
            True,
        )

    def values(self) -> dict[str, float]:
        """Return the means by name."""
        return {
            name: float(value) / self._size
            for name, value in self._sums.items()
        }

    def check_finite(self, where: str, epoch: int) -> None:
        """Refuse scalars that are not finite.

        Args:
            where: What is trained, for messages.
            epoch: The number of the epoch, counted from 1.

        Raises:
            ValueError: If there is one; it names the first of them.
        """
        found = self.first_not_finite()
        if found is not None:
            step, name = found
            raise ValueError(
                f'Training of {where} diverged: in epoch {epoch}, step '
                f"{step + 1}, '{name}' became NaN or infinite. Lower 'lr'"
            )

    def state(self) -> dict[str, Any]:
        """Return all of it as plain values, to be saved."""
        return {
            'sums': dict(self._sums),
            'first_bad': dict(self._first_bad),
            'size': self._size,
            'step': self._step,
            'of_all': self._of_all,
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> EpochMeans:
        """Return what was saved.

        Args:
            state: What :meth:`state` returned.
        """
        return cls(**{f'_{name}': value for name, value in state.items()})

    def first_not_finite(self) -> tuple[int, str] | None:
        """Return the first step with a scalar that is not finite, and its name.

        Steps are counted from 0. Of several scalars it is the one that was
        added first.
        """
        bad = [
            (int(step), place, name)
            for place, (name, step) in enumerate(self._first_bad.items())
            if step < torch.inf
        ]
        if not bad:
            return None
        step, _, name = min(bad)
        return step, name
