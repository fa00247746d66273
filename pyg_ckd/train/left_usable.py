"""How training leaves a task."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from torch import Tensor

from pyg_ckd.train.keep_best import KeepBest
from pyg_ckd.train.recommendation import Recommendation


@contextmanager
def left_usable(task: Recommendation, best: KeepBest) -> Iterator[None]:
    """Leave a task usable, however its training ends.

    It has the best weights, the dtypes it had before, the data where it was,
    and is in evaluation mode. Ctrl+C works as before.

    Args:
        task: What is trained.
        best: The best weights.
    """
    dtypes = {name: tensor.dtype for name, tensor in _tensors(task)}
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            # Lightning ignores it once it has come:
            signal.signal(signal.SIGINT, handler)
        best.restore(task)
        task.zero_grad()
        for name, tensor in _tensors(task):
            tensor.data = tensor.data.to(dtypes.get(name, tensor.dtype))
        task.teardown('fit')
        task.eval()


def _tensors(task: Recommendation) -> Iterator[tuple[str, Tensor]]:
    return chain(task.named_parameters(), task.named_buffers())
