"""Scales of features, and what is said of those that differ."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

from torch import Tensor


def scale_of(x: Tensor) -> float:
    """Return how far items are from their mean, a root mean square.

    Args:
        x: Features of shape ``[num_items, num_features]``.
    """
    if len(x) == 0:
        return 0.0
    return float(x.var(dim=0, correction=0).sum().sqrt())


def scale_text(scale: float) -> str:
    """Return a scale with three digits that count, or all before the point.

    Example:
        >>> scale_text(0.70712), scale_text(1472.3)
        ('0.707', '1,472')
    """
    return f'{scale:,.0f}' if scale >= 100 else f'{scale:.3g}'


def scales_remark(
    scales: Mapping[str, float], widths: Mapping[str, int]
) -> str:
    """Return what is to be said of scales that differ, or nothing.

    They differ if one is more than ten times another. That a modality has more
    features is not enough: standardising would leave that as it is, so their
    size has to differ as well, twofold. What is the same for all items, such as
    an ablated modality, has no scale.

    Args:
        scales: The scale of each modality, see
            :func:`pyg_ckd.graph.feature_scales`.
        widths: The number of features of each modality.

    Example:
        >>> scales_remark({'text': 1.0, 'image': 9.0}, {'text': 8, 'image': 8})
        ''
        >>> scales_remark({'text': 1.0, 'image': 20.}, {'text': 8, 'image': 8})
        'Features differ in scale more than tenfold (text 1, image 20), ...'
    """
    scales = {m: scale for m, scale in scales.items() if scale > 0}
    size = {m: scale / widths[m] ** 0.5 for m, scale in scales.items()}
    if not any(
        scales[large] > 10 * scales[small] and size[large] > 2 * size[small]
        for large, small in permutations(scales, 2)
    ):
        return ''
    shown = ', '.join(f'{m} {scale_text(s)}' for m, s in scales.items())
    return (
        f'Features differ in scale more than tenfold ({shown}), and gradients '
        f'grow with features: the largest are learned first, whether or not '
        f'they are the best. Standardise before graphs are made: '
        f'data = StandardizeModality()(data), of pyg_ckd.transforms'
    )
