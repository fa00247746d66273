"""A training that one of several processes does by itself."""

from __future__ import annotations

from pytorch_lightning.strategies import SingleDeviceStrategy


class OnThisRank(SingleDeviceStrategy):
    """Trains in this process alone, while others train something else.

    So teachers are trained, by :class:`~pyg_ckd.train.shared_out.SharedOut`.

    Args:
        device (torch.device): The device of this process.
    """
