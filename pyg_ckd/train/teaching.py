"""Training of teachers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn
from torch_geometric.data import HeteroData
from typing_extensions import Unpack

from pyg_ckd.balance import Teacher
from pyg_ckd.graph import check, modalities
from pyg_ckd.objectives import Objective
from pyg_ckd.train._fit import fit
from pyg_ckd.train.checks import described
from pyg_ckd.train.fit_options import FitOptions
from pyg_ckd.train.recommendation import Recommendation
from pyg_ckd.train.titles import teacher_title
from pyg_ckd.views import Keep, only


def fit_teachers(
    model_factory: Callable[[], nn.Module],
    data: HeteroData,
    *,
    objective: Objective | None = None,
    lr: float = 1e-3,
    batch_size: int = 2048,
    sampling: Literal['user', 'interaction'] = 'interaction',
    **kwargs: Unpack[FitOptions],
) -> dict[Keep, Teacher]:
    """Train one teacher for each modality.

    Args:
        model_factory (callable): Makes a new model, such as ``lambda:
            VBPR.from_data(data)``.
        data (HeteroData): The user-item graph.
        objective (Objective, optional): See
            :class:`~pyg_ckd.train.Recommendation`. (default: :obj:`None`)
        lr (float, optional): The learning rate. (default: :obj:`0.001`)
        batch_size (int, optional): The number of triples in a batch.
            (default: :obj:`2048`)
        sampling (str, optional): ``"interaction"`` or ``"user"``.
            (default: :obj:`"interaction"`)
        **kwargs (optional): Arguments of :func:`~pyg_ckd.train.fit`.

    Returns:
        The teachers by the view that each was trained in, ``only(m)``.

    Raises:
        ValueError: If an argument of ``fit`` is for a single training, such as
            ``callbacks``.
        TypeError: If ``model_factory`` is a model itself.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> teachers = fit_teachers(lambda: VBPR.from_data(data, dim=4), data,
        ...                         max_epochs=1, progress=False)
        >>> teachers[only('text')]
        Teacher(num_users=20, num_items=30, dim=8)
    """
    if isinstance(model_factory, nn.Module) or not callable(model_factory):
        raise TypeError(
            f"'model_factory' needs to be a function that makes a new model "
            f"in 'fit_teachers', such as lambda: VBPR.from_data(data) (got "
            f'{described(model_factory)})'
        )
    for name in ('callbacks', 'ckpt_path', 'logger'):
        if kwargs.get(name):
            raise ValueError(
                f"'{name}' belongs to one training, but 'fit_teachers' has one "
                f'for each modality: use fit(Recommendation(model, data, '
                f"keep=only('text')), {name}=...) for each, and "
                f"Teacher.from_model(model, data, only('text'))"
            )
    data = check(data)
    names = modalities(data)
    settings = {'lr': lr, 'batch_size': batch_size, 'sampling': sampling}
    teachers = {}
    for keep in map(only, names):
        task = Recommendation(
            model_factory(),
            data,
            objective,
            keep=keep,
            lr=lr,
            batch_size=batch_size,
            sampling=sampling,
        )
        task.title = teacher_title(task.recommender.name, keep, names)
        fit(task, **kwargs)
        teachers[keep] = Teacher.from_model(
            task.model, data, keep, {**settings, 'objective': repr(objective)}
        )
    return teachers
