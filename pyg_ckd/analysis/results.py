"""Results of training runs, and files of them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyg_ckd.datasets.files import open_atomic

#: What is too large for a line of JSON.
ARRAYS = ('users', 'hits')


@dataclass
class Result:
    """What one training run gave.

    Args:
        dataset (str): The name of the data set.
        backbone (str): The name of the recommender.
        method (str): ``base``, ``teacher(<modality>)`` or ``ckd``.
        seed (int): The random seed.
        settings (dict): All settings that the result depends on.
        test (dict): Test metrics of each view, such as
            ``test['only(text)']['recall@20']``. A teacher has the one view it
            was trained on.
        val (dict): Validation metrics of the trained view.
        history (list): What was logged in each evaluation.
        epochs (int): The number of epochs until training stopped.
        seconds (float): How long training took.
        users (dict): Test metrics of each user in the trained view, as
            :func:`~pyg_ckd.metrics.per_user` returns them. Without
            them, gains are tested over seeds only.
        hits (dict): Which test interactions the trained view finds, as
            :func:`~pyg_ckd.metrics.hits` returns them.
    """

    dataset: str
    backbone: str
    method: str
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    test: dict[str, dict[str, float]] = field(default_factory=dict)
    val: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    epochs: int = 0
    seconds: float = 0.0
    users: dict[str, Tensor] = field(
        default_factory=dict, repr=False, compare=False
    )
    hits: dict[str, Tensor] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def key(self) -> str:
        """What tells one run from another: its name and settings, as JSON."""
        names = ('dataset', 'backbone', 'method', 'seed', 'settings')
        return json.dumps(
            {name: getattr(self, name) for name in names}, sort_keys=True
        )

    @property
    def trained_view(self) -> str:
        """The view that was trained: ``full``, or ``only(<modality>)``."""
        if self.method.startswith('teacher'):
            return self.method.replace('teacher', 'only', 1)
        return 'full'

    @property
    def tested(self) -> dict[str, float]:
        """Test metrics of the trained view."""
        return self.test.get(self.trained_view, {})

    @property
    def compared(self) -> bool:
        """Whether it is compared with the base: it is no base, no teacher."""
        return self.method != 'base' and not self.method.startswith('teacher')


def save_result(result: Result, folder: str | os.PathLike[str]) -> None:
    """Append a result to those of a folder.

    It becomes a line of ``results.jsonl``. The metrics of users and the hits
    go to ``users/<hash of the key>.npz`` and to ``hits/`` first, in single
    precision, so that a line is there only once they are.

    Args:
        result: What to save.
        folder: Where to save it. It is created if needed.

    Raises:
        OSError: If writing fails, such as on a full disk.
    """
    for kind in ARRAYS:
        path = _arrays_path(result, folder, kind)
        arrays = {name: _array(x) for name, x in getattr(result, kind).items()}
        if arrays:
            with open_atomic(path) as file:
                np.savez_compressed(file, **arrays)
        else:  # those of an earlier run are not its own
            path.unlink(missing_ok=True)
    line = json.dumps(
        {
            one.name: getattr(result, one.name)
            for one in fields(result)
            if one.name not in ARRAYS
        }
    )
    log = Path(folder, 'results.jsonl')
    log.parent.mkdir(parents=True, exist_ok=True)
    # A line that was cut off earlier ends here:
    with log.open('a', encoding='utf-8') as lines:
        lines.write(f'\n{line}')


def load_results(folder: str | os.PathLike[str]) -> list[Result]:
    """Return the results of a folder, none if it holds none.

    A line that was cut off when a run was killed is skipped. Of two results
    with the same key, the later one counts.

    Args:
        folder: Where :func:`save_result` saved them.

    Raises:
        ValueError: If a line is no result.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_result(Result('fake', 'VBPR', 'base', seed=0), folder)
        ...     load_results(folder)[0].backbone
        'VBPR'
    """
    log = Path(folder, 'results.jsonl')
    if not log.exists():
        return []
    results = {}
    for number, line in enumerate(log.read_text('utf-8').split('\n'), 1):
        try:
            result = Result(**json.loads(line))
        except json.JSONDecodeError:
            continue
        except TypeError as error:
            raise ValueError(
                f"'{log}', line {number}, is no result: {error}"
            ) from error
        results[result.key] = result
    for result in results.values():
        for kind in ARRAYS:
            path = _arrays_path(result, folder, kind)
            if path.exists():
                with np.load(path, allow_pickle=False) as arrays:
                    tensors = {
                        name: torch.from_numpy(x) for name, x in arrays.items()
                    }
                setattr(result, kind, tensors)
    return list(results.values())


def _arrays_path(
    result: Result, folder: str | os.PathLike[str], kind: str
) -> Path:
    name = hashlib.sha256(result.key.encode()).hexdigest()[:16]
    return Path(folder, kind, f'{name}.npz')


def _array(value: Tensor) -> Any:
    value = value.cpu()
    return (value.float() if value.is_floating_point() else value).numpy()
