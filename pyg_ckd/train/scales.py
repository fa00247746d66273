"""Scales of features, at the start of training."""

from __future__ import annotations

from functools import cache

from pyg_ckd._contract.scales import scales_remark
from pyg_ckd.graph import feature_scales, modalities
from pyg_ckd.nn.door import Foreign
from pyg_ckd.train.recommendation import Recommendation
from pyg_ckd.train.warn import warn


def warn_of_scales(task: Recommendation) -> None:
    """Warn if a model learns from features that differ in scale.

    The same is said once in a process, however many models are trained. A
    teacher of one modality has nothing to compare.

    Args:
        task: What is about to be trained.
    """
    data, names = task.data, _learned_from(task)
    if len(names) < 2:
        return
    scales = feature_scales(data)
    remark = scales_remark(
        {name: scales[name] for name in names},
        {name: data['item'][f'x_{name}'].size(1) for name in names},
    )
    if remark:
        _say(remark)


def _learned_from(task: Recommendation) -> list[str]:
    """Return modalities of the view that have parameters of their own.

    Of a module that is not ours nobody knows, so that it is all of them.
    """
    model = task.recommender
    is_foreign = any(isinstance(part, Foreign) for part in model.modules())
    return [
        name
        for name in modalities(task.data)
        if name in task.keep and (is_foreign or model.modality_parameters(name))
    ]


@cache
def _say(remark: str) -> None:
    warn(remark)
