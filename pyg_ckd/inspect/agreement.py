"""Whether the weights of CKD go to where a modality lags behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

#: A rank correlation over fewer checkpoints says nothing.
MIN_CHECKPOINTS = 4

Curves = Mapping[str, Sequence[float]]


def weights_and_gaps(
    history: Sequence[Mapping[str, float]], level: Mapping[str, float]
) -> tuple[Curves, Curves]:
    """Return the weight and the gap of each modality at the checkpoints.

    Args:
        history: The history of a task with :class:`~pyg_ckd.balance.CKD`.
        level: Validation Recall@20 of the teacher of each modality.

    Raises:
        ValueError: If the history is not one of CKD.

    Example:
        >>> history = [{'weight_text': 1.5, 'val_recall@20/only(text)': 0.06}]
        >>> weights, gaps = weights_and_gaps(history, {'text': 0.08})
        >>> weights, gaps
        ({'text': [1.5]}, {'text': [0.25]})
    """
    try:
        weights = {m: [each[f'weight_{m}'] for each in history] for m in level}
        recall = {
            m: [each[f'val_recall@20/only({m})'] for each in history]
            for m in level
        }
    except KeyError as error:
        raise ValueError(
            f"'history' needs to be that of a task with CKD, but it has an "
            f'entry without {error}'
        ) from None
    gaps = {m: [gap(own, level[m]) for own in recall[m]] for m in level}
    return weights, gaps


def rank_agreement(weights: Curves, gaps: Curves) -> dict[str, float | None]:
    """Return Spearman's rank correlation of weights and gaps.

    Args:
        weights: The weight of each modality at the checkpoints.
        gaps: The gap of each modality at the checkpoints.

    Returns:
        A correlation for each modality, and for the points of all of them
        together as ``pooled``. It is :obj:`None` with fewer than four
        checkpoints, or where one of the two never changes.

    Example:
        >>> weights = {'text': [1.4, 1.3, 1.2, 1.1]}
        >>> rank_agreement(weights, {'text': [0.5, 0.4, 0.3, 0.2]})['text']
        1.0
    """
    from scipy.stats import spearmanr

    pairs = {m: (weights[m], gaps[m]) for m in weights}
    pairs['pooled'] = (
        list(chain(*weights.values())),
        list(chain(*gaps.values())),
    )
    fewest = min(map(len, weights.values()))
    return {
        name: float(spearmanr(*pair).statistic)
        if fewest >= MIN_CHECKPOINTS
        and min(len(set(series)) for series in pair) > 1
        else None
        for name, pair in pairs.items()
    }


def gap(own: float, teacher: float) -> float:
    """Return how far a recall is behind that of a teacher.

    A teacher that finds nothing leaves no gap.

    Example:
        >>> gap(0.06, 0.08)
        0.25
    """
    return 1 - own / teacher if teacher else 0.0
