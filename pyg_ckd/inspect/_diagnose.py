"""A check of how a model uses its modalities, and of what CKD makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.balance import (
    CKD,
    CounterfactualWeights,
    Teacher,
    failure_signs,
    modality_weights,
)
from pyg_ckd.graph import modalities
from pyg_ckd.inspect.agreement import weights_and_gaps
from pyg_ckd.inspect.diagnosis import QUANTILES, Diagnosis, Table
from pyg_ckd.kernels.arguments import as_seed, check_whole
from pyg_ckd.nn.door import matched
from pyg_ckd.objectives import Batch, Objective
from pyg_ckd.ranking import Split, evaluate_views, evaluating
from pyg_ckd.views import Keep, distinct_views, only, view_name, without

if TYPE_CHECKING:
    from pyg_ckd.train import Recommendation


def diagnose(
    model: nn.Module,
    data: HeteroData,
    teachers: Mapping[Keep, Teacher],
    *,
    balance: CKD | None = None,
    objective: Objective | None = None,
    history: Sequence[Mapping[str, float]] | None = None,
    split: Split = 'val',
    k: int = 20,
    num_triples: int = 8192,
    batch_size: int = 2048,
    seed: int = 0,
) -> Diagnosis:
    r"""Find out how a model uses its modalities, and what CKD makes of it.

    The gap of a modality is what its view lacks to its teacher, and what CKD
    is to close:

    .. math::
        \mathrm{gap}_m = 1 - \frac{\mathrm{Recall@}K(\mathrm{only}(m))}
        {\mathrm{Recall@}K(T_m)}

    Progress and weights are those of
    :class:`~pyg_ckd.balance.CounterfactualWeights`, on training triples with
    positives drawn uniformly from the interactions. With ``effect="average"``
    they are averages over batches of these. The weights are what the effects
    lead to, also for a CKD without weights. The model is looked at in
    evaluation mode, without dropout, and left as it was.

    Args:
        model: Any recommender that CKD can train, at any stage of training.
        data: The user-item graph.
        teachers: The teachers by the view that each teaches, at least one of
            them that of a modality alone.
        balance: The settings of CKD, its defaults by default; teachers that it
            has are not used.
        objective: What training minimises beside, as in
            :class:`~pyg_ckd.train.Recommendation`.
        history: The history of a task with CKD, to compare weights and gaps
            at its checkpoints.
        split: Where recall is measured, ``"val"`` or ``"test"``.
        k: The list length of recall.
        num_triples: The number of training triples to draw.
        batch_size: The number of triples in a batch.
        seed: The seed they are drawn with.

    Raises:
        ValueError: If ``num_triples`` or ``seed`` is out of range, no modality
            alone has a teacher, the history is not one of CKD, or an argument
            is one that CKD or the evaluation refuses.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.train import Recommendation, fit
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> task = Recommendation(VBPR.from_data(data, dim=4), data,
        ...                       balance=CKD())
        >>> task = fit(task, max_epochs=1, progress=False)
        >>> found = diagnose(task.model, data, task.balance.teachers)
        >>> list(found.gap)
        ['only(image)', 'only(text)']
        >>> list(found.recall)
        ['full', 'only(image)', 'only(text)']
    """
    # Lightning is slow to load, and the rest of this package needs none of it:
    from pyg_ckd.train import Recommendation, gradient_share

    check_whole('diagnose', num_triples=num_triples)
    seed = as_seed('diagnose', seed)
    if not teachers:
        raise ValueError(
            "'diagnose' needs 'teachers', such as task.balance.teachers"
        )
    gpus = range(torch.cuda.device_count())
    with torch.random.fork_rng(gpus), evaluating(model):
        torch.manual_seed(seed)
        task = Recommendation(
            model,
            data,
            objective,
            _with_teachers(balance or CKD(), teachers),
            batch_size=batch_size,
        )
        ckd = _begun(task)
        known = modalities(task.data)
        names = [m for m in known if only(m) in ckd.teachers]
        if not names:
            raise ValueError(
                f"'teachers' needs one of a modality alone, such as "
                f"only('text'), in 'diagnose' (got {ckd.teachers})"
            )
        checkpoint = {
            f'val_recall@20/{view}': value
            for view, value in _recall(task, 'val', 20, ckd.watched).items()
        }
        ckd.validated(checkpoint)  # sets the gates, if there are any
        batches = _batches(task, num_triples)
        progress = _progress(task, ckd, names, batches)  # [N, M]
        share = gradient_share(task, batches[0])
        keeps = dict.fromkeys([*distinct_views(known), *ckd.watched])
        recall = _recall(task, split, k, list(keeps))
        teacher = {
            view_name(keep, known): each.evaluate(
                task.data, split=split, ks=(k,), metrics=('recall',)
            )[f'recall@{k}']
            for keep, each in ckd.teachers.at_work.items()
        }

    weight = modality_weights(progress)
    if len(names) > 1:
        for m, column in zip(names, weight.t(), strict=True):
            checkpoint[f'spread_{m}'] = float((column - 1).abs().mean())
    checkpoint['gradient_share'] = share
    level = {view_name(k, known): x for k, x in ckd.teacher_level.items()}
    weights, gaps = weights_and_gaps(
        history or (), {m: level[f'only({m})'] for m in names}
    )
    wrong = (progress <= 1e-8).double().mean(dim=0).tolist()
    large = (progress >= 10).double().mean(dim=0).tolist()
    return Diagnosis(
        metric=f'{split} recall@{k}',
        recall=recall,
        teacher=teacher,
        num_triples=num_triples,
        progress=_spread(progress, names),
        weight=_spread(weight, names),
        clamped={
            m: {'wrong sign': wrong[i], 'too large': large[i]}
            for i, m in enumerate(names)
        },
        epochs=[entry['epoch'] for entry in history or ()],
        weights=weights,
        gaps=gaps,
        gradient_share=share,
        signs=failure_signs(checkpoint, level),
    )


def _with_teachers(ckd: CKD, teachers: Mapping[Keep, Teacher]) -> CKD:
    """Return CKD of the same settings, with other teachers."""
    parts = ckd.on_batch, ckd.on_random, ckd.weights
    return CKD(teachers, ckd.strength, *parts, ckd.gate)


def _begun(task: Recommendation) -> CKD:
    """Return the balance of a task, once all is where training has it."""
    assert isinstance(task.balance, CKD)
    task.data = matched(task.data, task.recommender)
    task.balance.begin(task.data)
    return task.balance


def _batches(task: Recommendation, num: int) -> list[Batch]:
    """Draw training triples, in batches of the size that is trained with."""
    loader = task.train_dataloader()
    place = torch.randint(len(loader.keys), (num,), device=loader.keys.device)
    if loader.units is not None:  # As likely as they are in training.
        end = loader.units.cumsum(0)
        point = torch.randint(int(end[-1]), (num,), device=end.device)
        place = torch.searchsorted(end, point, right=True)
    user = loader.keys[place] // loader.num_items
    pos = loader.keys[place] % loader.num_items
    triples = (user, pos, loader.negatives(user))
    columns = (column.split(task.batch_size) for column in triples)
    return list(zip(*columns, strict=True))


def _progress(
    task: Recommendation,
    ckd: CKD,
    names: Sequence[str],
    batches: Sequence[Batch],
) -> Tensor:
    """Return the learning progress on each triple, ``[N, M]``."""
    known = modalities(task.data)
    keeps = distinct_views(known)
    alone = [keeps.index(only(m)) for m in names]
    away = [keeps.index(without(known, m)) for m in names]
    weights = ckd.weights or CounterfactualWeights()
    several = task.recommender.views(task.data, keeps)
    progress = []
    for batch in batches:
        student = several.triples(*batch).margin()  # [B, V]
        taught = [ckd.teachers.at_work[only(m)].margin(*batch) for m in names]
        progress.append(
            weights.progress(
                full=student[:, 0],
                without=student[:, away],
                alone=student[:, alone],
                taught=torch.stack(taught, dim=-1),
            )
        )
    return torch.cat(progress).cpu()


def _recall(
    task: Recommendation, split: Split, k: int, keeps: Sequence[Keep]
) -> dict[str, float]:
    """Return the recall of some views, by their names."""
    table = evaluate_views(
        task.recommender,
        task.data,
        split,
        (k,),
        metrics=('recall',),
        keeps=keeps,
    )
    return {view: values[f'recall@{k}'] for view, values in table.items()}


def _spread(values: Tensor, names: Sequence[str]) -> Table:
    """Return the mean and the quantiles of each column, by its name."""
    share = torch.tensor(list(QUANTILES.values()), dtype=torch.double)
    table: dict[str, dict[str, float]] = {}
    for m, column in zip(names, values.double().t(), strict=True):
        table[m] = {'mean': float(column.mean())}
        table[m] |= zip(QUANTILES, column.quantile(share).tolist(), strict=True)
    return table
