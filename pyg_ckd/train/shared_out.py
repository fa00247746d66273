"""Training of teachers, shared out among processes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from pyg_ckd.balance import Teach
from pyg_ckd.kernels.ranks import Ranks
from pyg_ckd.nn import Recommender
from pyg_ckd.train.warn import warn
from pyg_ckd.views import Keep

#: How long one process waits for another that still trains a teacher. One
#: that has died is noticed at once.
_PATIENCE = timedelta(days=30)


class SharedOut:
    """Trains models in several views at the same time, a process each.

    Of :math:`n` processes, number :math:`r` trains the views :math:`r`,
    :math:`r + n` and so on, each from a seed of its own, and hands the weights
    to all. All have to ask for the same views. An error in one process is
    raised in all.

    Args:
        teach (callable): Trains a copy of the model in one view, in this
            process alone.
        keeps (sequence[frozenset[str]]): The views that will be asked for.
            Another one is trained by the first process once it is.
        recommender (Recommender): The model that is copied.
        ranks (Ranks): The processes.
        device (torch.device): The device of this one.
    """

    def __init__(
        self,
        teach: Teach,
        keeps: Sequence[Keep],
        recommender: Recommender,
        ranks: Ranks,
        device: torch.device,
    ) -> None:
        self.teach = teach
        self.keeps = list(keeps)
        self.recommender = recommender
        self.ranks = ranks
        self.devices = [device] if device.type == 'cuda' else []
        self._weights: dict[Keep, dict[str, Any]] = {}

    def __call__(self, keep: Keep) -> Recommender:
        """Return a copy of the model that was trained in one view."""
        if keep not in self._weights:
            self._train(self.keeps if keep in self.keeps else [keep])
        recommender = copy.deepcopy(self.recommender)
        recommender.load_state_dict(self._weights[keep])
        return recommender.eval()

    def _train(self, keeps: Sequence[Keep]) -> None:
        """Train own views, and exchange the weights of all."""
        # A group of its own, whose patience outlasts a training:
        group = dist.new_group(backend='gloo', timeout=_PATIENCE)
        try:
            self._exchange(keeps, group)
        finally:
            dist.destroy_process_group(group)

    def _exchange(self, keeps: Sequence[Keep], group: Any) -> None:
        own, error = self._own(keeps)
        failures: list[Any] = [None] * self.ranks.size
        failure = None if error is None else f'{type(error).__name__}: {error}'
        dist.all_gather_object(failures, failure, group=group)
        if error is not None:
            raise error
        for rank, failure in enumerate(failures):
            if failure is not None:
                raise RuntimeError(
                    f'A teacher could not be trained in process {rank} of '
                    f'{self.ranks.size}, so that all of them stop: {failure}'
                )
        for place, keep in enumerate(keeps):
            weights = [own.get(keep)]
            rank = place % self.ranks.size
            dist.broadcast_object_list(weights, rank, group=group)
            assert weights[0] is not None
            self._weights[keep] = weights[0]

    def _own(
        self, keeps: Sequence[Keep]
    ) -> tuple[dict[Keep, dict[str, Any]], Exception | None]:
        """Train the views of this process, up to the first error."""
        trained = {}
        seeds = torch.randint(2**62, (len(keeps),)).tolist()
        for place, keep in enumerate(keeps):
            if place % self.ranks.size != self.ranks.rank:
                continue
            try:
                with torch.random.fork_rng(self.devices):
                    torch.manual_seed(seeds[place])
                    trained[keep] = self.teach(keep).state_dict()
            except Exception as error:  # The others have to hear of any.
                warn(
                    f'Training of the teacher of {sorted(keep)} failed in '
                    f'process {self.ranks.rank}, and all stop once they have '
                    f'trained theirs: {type(error).__name__}: {error}'
                )
                return trained, error
        return trained, None
