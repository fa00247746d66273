"""Results of training runs, and tables of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyg_ckd.analysis.significance import Comparison, compare
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
            :func:`~pyg_ckd.evaluation.evaluate_users` returns them. Without
            them, gains are tested over seeds only.
        hits (dict): Which test interactions the trained view finds, as
            :func:`~pyg_ckd.evaluation.evaluate_hits` returns them.
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


def summarize(
    results: Iterable[Result],
    metrics: Sequence[str] = ('recall@10', 'recall@20', 'ndcg@10', 'ndcg@20'),
) -> list[dict[str, str]]:
    """Return a table with a row for each data set, backbone and method.

    Entries are means over seeds, with the standard deviation where there are
    several seeds. A row that is neither a base nor a teacher ends with its
    comparison against the base of the same backbone and seeds, see
    :func:`~pyg_ckd.analysis.significance.compare`: the relative change of
    Recall@20 with its interval of 95 %, or that there is none that is
    significant, and p-values, which are not adjusted for the number of rows.

    Args:
        results: Results of runs.
        metrics: The columns.

    Raises:
        ValueError: If a row to compare, or its base, has two runs of a seed,
            such as with two settings.

    Example:
        >>> runs = [Result('fake', 'VBPR', 'base', seed=0,
        ...                test={'full': {'recall@20': 0.5}})]
        >>> summarize(runs, metrics=['recall@20'])[0]['recall@20']
        '0.5000'
    """
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        key = (result.dataset, result.backbone, result.method)
        groups.setdefault(key, []).append(result)

    rows = []
    for (dataset, backbone, method), runs in groups.items():
        row = {'data set': dataset, 'backbone': backbone, 'method': method}
        row['seeds'] = str(len(runs))
        for metric in metrics:
            values = [
                run.tested[metric] for run in runs if metric in run.tested
            ]
            row[metric] = spread(values) if values else ''
        base = groups.get((dataset, backbone, 'base'), [])
        row |= _against(base if runs[0].compared else [], runs)
        row['minutes'] = f'{fmean(run.seconds for run in runs) / 60:.1f}'
        rows.append(row)
    return rows


def _against(base: Sequence[Result], other: Sequence[Result]) -> dict[str, str]:
    """Return the columns that compare a row with the base."""
    metric = 'recall@20'
    comparison = against_base(base, other, metric)
    if comparison is None:
        return {f'{metric} against base': '', 'p (users)': '', 'p (seeds)': ''}
    return {
        f'{metric} against base': comparison.verdict,
        'p (users)': p_value(comparison.p_users),
        'p (seeds)': p_value(comparison.p_seeds),
    }


def against_base(
    base: Sequence[Result], other: Sequence[Result], metric: str = 'recall@20'
) -> Comparison | None:
    """Compare runs with a base, unless no seed has a base that hits anything.

    Args:
        base: Runs of the base, none or one a seed.
        other: Runs of another method, one a seed.
        metric: What to compare.
    """
    seeds = {run.seed for run in other if metric in run.tested}
    hits = any(run.tested.get(metric) for run in base if run.seed in seeds)
    return compare(base, other, metric) if hits else None


def p_value(p: float | None) -> str:
    """Return a p-value as tables show it, and nothing if there is none.

    Example:
        >>> p_value(0.0123), p_value(1e-9), p_value(None)
        ('0.012', '< 0.001', '')
    """
    if p is None:
        return ''
    return '< 0.001' if p < 0.001 else f'{p:.3f}'


def spread(values: Sequence[float], form: str = '.4f') -> str:
    """Return the mean, and the standard deviation if there are several.

    Example:
        >>> spread([0.1, 0.3])
        '0.2000 ± 0.1414'
    """
    text = f'{fmean(values):{form}}'
    if len(values) > 1:
        text += f' ± {stdev(values):{form.lstrip("+")}}'
    return text


def markdown_table(rows: Sequence[dict[str, str]]) -> str:
    """Return a table in Markdown.

    Example:
        >>> print(markdown_table([{'method': 'base', 'recall@20': '0.07'}]))
        | method | recall@20 |
        | --- | --- |
        | base | 0.07 |
    """
    lines = [list(rows[0]), ['---'] * len(rows[0])]
    lines += [list(row.values()) for row in rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
