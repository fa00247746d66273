"""Signs that distillation does not help."""

from __future__ import annotations

import math
from collections.abc import Mapping

#: Weights that stay this close to one on average weigh nothing.
MIN_SPREAD = 0.02
#: A larger share of the gradient leaves BPR little say.
MAX_SHARE = 0.9


def failure_signs(
    entry: Mapping[str, float], teacher_level: Mapping[str, float]
) -> dict[str, str]:
    """Return the signs of failure in one entry of a history of CKD.

    There are three: a teacher that is no better than the student's own view,
    effects that do not differ between modalities, and a distillation gradient
    that leaves BPR little say.

    Args:
        entry: What a task with :class:`~pyg_ckd.balance.CKD` logged in one
            evaluation. Without ``spread_<m>``, effects are not looked at, and
            without ``gradient_share`` the gradient is not.
        teacher_level: Validation Recall@20 of each teacher by the name of the
            view that it teaches, such as ``only(text)``.

    Returns:
        For each sign that was found what was measured, what it means and what
        to try, by its name.

    Example:
        >>> entry = {
        ...     'gradient_share': 0.2, 'spread_text': 0.3,
        ...     'val_recall@20/only(text)': 0.09,
        ... }
        >>> list(failure_signs(entry, {'only(text)': 0.08}))
        ['teacher of only(text)']
    """
    signs = {}
    for view, level in teacher_level.items():
        own = entry[f'val_recall@20/{view}']
        if own >= level:
            signs[f'teacher of {view}'] = (
                f'The teacher of {view} has the validation Recall@20 '
                f"{level:.4f}, the student's own view {own:.4f}. "
                f'There is nothing left to learn from it, and distillation '
                f'may hold the student back. If the full view stops rising, '
                f'try CKD(gate=True), a stronger teacher, such as a model '
                f"that was trained without CKD, or a smaller 'strength'"
            )
    spreads = [
        value for key, value in entry.items() if key.startswith('spread_')
    ]
    if max(spreads, default=math.inf) < MIN_SPREAD:
        signs['effects'] = (
            f'The weights of the modalities differ from one by '
            f'{max(spreads):.4f} on average: their effects are all alike, so '
            f"that weighing does nothing. Try 'CKD(weights=None)', and "
            f"compare 'evaluate_views' to see whether a modality is ignored"
        )
    share = entry.get('gradient_share', 0.0)
    if share > MAX_SHARE:
        signs['gradient'] = (
            f'{share:.0%} of the gradient comes from distillation, '
            f'so that BPR has little say. If the full view falls behind a '
            f"model without CKD, try a smaller 'strength', or a smaller "
            f"'weight' or larger 'tau' of its 'on_random'"
        )
    return signs
