"""Modality dropout."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch_geometric.data import HeteroData

from pyg_ckd.balance.balance import Balance
from pyg_ckd.balance.dependence import check_modalities
from pyg_ckd.graph import modalities
from pyg_ckd.kernels.arguments import is_number
from pyg_ckd.nn import Recommender
from pyg_ckd.views import Keep


class ModalityDropout(Balance):
    r"""Trains a view in each step that lacks some modalities by chance.

    From the `"ModDrop: Adaptive Multi-modal Gesture Recognition"
    <https://arxiv.org/abs/1501.00102>`_ paper. Each modality of the view that
    is trained is ablated with probability :math:`p`, anew in each step; if all
    of them would be, a random one stays. Validation is of the view with all of
    them. It is the plainest remedy, the control of those that need teachers or
    further views.

    The paper drops the input of single examples. That a modality is ablated to
    its mean over items, and by one draw for the whole batch, is this library's
    adaptation. With a larger probability for the modality that is ahead,
    ``ModalityDropout({'image': 0.1, 'text': 0.5})``, it stands in for OPM of
    `"On-the-fly Modulation for Balanced Multimodal Learning"
    <https://arxiv.org/abs/2410.11582>`_, which adapts the probabilities in
    training; here they stay as they are given.

    A model whose scores do not depend on features is not refused: its own loss
    may, as that of :class:`~pyg_ckd.nn.BM3` does.

    Args:
        p (float or dict[str, float], optional): The probability that a
            modality is ablated, one for all or one for each; one that is not
            named never is. (default: :obj:`0.3`)

    Raises:
        ValueError: If a probability is not in :math:`[0, 1)`; and, once it is
            part of a task, if there are fewer than two modalities or ``p``
            names one that the data lacks.

    Example:
        >>> ModalityDropout({'image': 0.1, 'text': 0.5})
        ModalityDropout(p={'image': 0.1, 'text': 0.5})
    """

    def __init__(self, p: float | Mapping[str, float] = 0.3) -> None:
        super().__init__()
        # Sorted, so that equal settings look the same:
        self.p = dict(sorted(p.items())) if isinstance(p, Mapping) else p
        named = self.p if isinstance(self.p, dict) else {'': self.p}
        for m, value in named.items():
            if not is_number(value) or not 0 <= value < 1:
                raise ValueError(
                    f"'p' needs to be at least 0 and below 1 in "
                    f"'ModalityDropout' (got {value!r}"
                    f'{f" for {m!r}" if m else ""})'
                )
        self._probability: dict[str, float] = {}

    def attach(self, recommender: Recommender, data: HeteroData) -> None:
        """Check that there is something to drop."""
        check_modalities(data, 'ModalityDropout')
        names = modalities(data)
        named = self.p if isinstance(self.p, dict) else {}
        for m in named:
            if m not in names:
                raise ValueError(
                    f"'p' of 'ModalityDropout' names the modality '{m}', but "
                    f'the items have {names}'
                )
        self._probability = {
            m: self.p.get(m, 0.0) if isinstance(self.p, dict) else self.p
            for m in names
        }

    def trained_view(self, keep: Keep) -> Keep:
        """Return the view without the modalities that are drawn."""
        # In the order of the data, which that of a set is not:
        names = [m for m in self._probability if m in keep]
        probability = torch.tensor([self._probability[m] for m in names])
        stays = torch.rand(len(names)) >= probability
        if not stays.any():
            stays[torch.randint(len(names), ())] = True
        kept = zip(names, stays.tolist(), strict=True)
        return frozenset(m for m, is_kept in kept if is_kept)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f'p={self.p}'
