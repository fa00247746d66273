"""Results of training runs, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any


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

    @property
    def trained_view(self) -> str:
        """The view that was trained: ``full``, or ``only(<modality>)``."""
        if self.method.startswith('teacher'):
            return self.method.replace('teacher', 'only', 1)
        return 'full'


def summarize(
    results: Iterable[Result],
    metrics: Sequence[str] = ('recall@10', 'recall@20', 'ndcg@10', 'ndcg@20'),
) -> list[dict[str, str]]:
    """Return a table with a row for each data set, backbone and method.

    Entries are means over seeds, with the standard deviation where there are
    several seeds. CKD's rows end with the relative change of Recall@20
    against the base with the same seed.

    Args:
        results: Results of runs.
        metrics: The columns.

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
            row[metric] = spread(
                [run.test[run.trained_view][metric] for run in runs]
            )
        base = {
            run.seed: run.test['full']['recall@20']
            for run in groups.get((dataset, backbone, 'base'), [])
        }
        gains = [
            100 * (run.test['full']['recall@20'] / base[run.seed] - 1)
            for run in runs
            if method == 'ckd' and base.get(run.seed)
        ]
        row['recall@20 against base'] = (
            f'{spread(gains, "+.1f")} %' if gains else ''
        )
        row['minutes'] = f'{fmean(run.seconds for run in runs) / 60:.1f}'
        rows.append(row)
    return rows


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
