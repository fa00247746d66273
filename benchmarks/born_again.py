"""Distillation without ablated views, to see what these do."""

from __future__ import annotations

from torch import Tensor

from pyg_ckd.train import CKD
from pyg_ckd.train.recommendation import Batch
from pyg_ckd.views import views


class BornAgain(CKD):
    r"""Teaches the full view alone, by a model with all modalities.

    From the `"Born Again Neural Networks" <https://arxiv.org/abs/1805.04770>`_
    paper. With the margins :math:`D` of the student and :math:`D^\mathcal{T}`
    of the teacher on random triples, both with all modalities,

    .. math::
        \mathcal{L} = \mathcal{L}_{\mathrm{BPR}} + \lambda \gamma \,
        \mathrm{mean} \; \mathrm{BCE}\left(\sigma(D / \tau),
        \sigma(D^\mathcal{T} / \tau)\right)

    Self-distillation has the same teacher and the same loss, but of the views
    that see one modality each.

    Args:
        model (torch.nn.Module): See :class:`~pyg_ckd.train.CKD`.
        data (HeteroData): See :class:`~pyg_ckd.train.CKD`.
        teachers (dict[str, Teacher]): The same teacher for each modality.
        **kwargs (optional): Arguments of :class:`~pyg_ckd.train.CKD`, of
            which only ``strength``, ``gamma``, ``tau``, ``eps`` and
            ``num_generic`` have an effect.
    """

    def losses(
        self, batch: Batch, generic: Batch
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the base loss, that of the full view, and both by name."""
        several = views(self.model, self.data, [self.keep])
        triples = several.triples(*batch)
        margin = triples.margin()[:, 0]
        base = self.recommendation_loss(several, triples, margin, batch)
        generic_loss = self.generic_loss(
            several.triples(*generic).margin()[:, 0],
            self.teachers[self.names[0]].margin(*generic),
        )
        parts = {'base': base.detach(), 'generic': generic_loss.detach()}
        return base, self.gamma * generic_loss, parts
