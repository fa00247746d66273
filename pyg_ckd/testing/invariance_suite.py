"""Tests that a backbone gives the same in other guises."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_ckd.graph import RATED_BY, RATES, modalities
from pyg_ckd.testing._gradients import gradients
from pyg_ckd.testing._train_steps import step_loss, train_steps
from pyg_ckd.testing.backbone_case import BackboneCase
from pyg_ckd.views import distinct_views, full

CLOSE: dict[str, Any] = {'rtol': 1e-4, 'atol': 1e-4}


class InvarianceSuite(BackboneCase):
    """A backbone gives the same renumbered, copied, and in other precision."""

    def test_renumbering(self) -> None:
        """Scores do not depend on which user or item has which number."""
        data = self.data(3)
        model = self.make(data)
        user, item = torch.randperm(12), torch.randperm(9)
        order = {12: user, 9: item, 12 + 9: torch.cat([user, item + 12])}

        other = copy.copy(data)
        for name, pairs in data[RATES].items():
            places = zip((user, item), pairs, strict=True)
            renamed = [place.argsort()[ids] for place, ids in places]
            other[RATES][name] = torch.stack(renamed)
        other[RATED_BY].edge_index = other[RATES].edge_index.flip(0)
        for m in modalities(data):
            other['item'][f'x_{m}'] = data['item'][f'x_{m}'][item]
        other = self.with_graphs(other)

        renumbered = copy.deepcopy(model)
        with torch.no_grad():
            for table in renumbered.parameters():
                if len(table) in order:  # a row a user, an item or a node
                    table.copy_(table[order[len(table)]])
        keeps = distinct_views(modalities(data))
        before, after = model.views(data, keeps), renumbered.views(other, keeps)
        for v in range(len(keeps)):
            user_emb, item_emb = before.embedding(v)
            expected = (user_emb @ item_emb.t())[user][:, item]
            user_emb, item_emb = after.embedding(v)
            torch.testing.assert_close(
                user_emb @ item_emb.t(), expected, **CLOSE
            )

    @pytest.mark.parametrize(
        'copied',
        [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
        ids=['deepcopy', 'pickle'],
    )
    def test_copies_of_what_was_used(
        self, copied: Callable[[Any], Any]
    ) -> None:
        data = self.data()
        keep = full(modalities(data))
        model = self.make(data)
        train_steps(model, data, keep)
        other, other_data = copied(model), copied(data)
        for training in (True, False):
            torch.testing.assert_close(
                model.train(training)(data),
                other.train(training)(other_data),
                rtol=0,
                atol=0,
            )
        # From here on they go different ways:
        before = copy.deepcopy(model.state_dict())
        train_steps(other, other_data, keep)
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name])
        assert not all(
            torch.equal(value, before[name])
            for name, value in other.state_dict().items()
        )

    def test_half_precision(self) -> None:
        """All views run under autocast, and tell what they tell without."""
        data, batch = self.data(), self.batch()
        model = self.model.from_data(data, dim=4)
        model.neighbors = self.few_neighbors()
        keep = full(modalities(data))
        model.start_epoch(data, keep)

        results = []
        for enabled in (False, True):
            with torch.autocast('cpu', torch.bfloat16, enabled):
                loss = step_loss(model, data, keep, *batch)
                margin = self.margin(model, data, batch)
                total = loss + margin.float().square().mean()
                results.append((margin, loss, gradients(total, model)))
        (margin, loss, grads), (low_margin, low_loss, low_grads) = results
        assert _distance(low_margin, margin, margin) < 0.03
        assert _distance(low_loss, loss, loss) < 0.03
        # Some see a kink, such as that of a rectifier, from the other side:
        size = torch.stack([grad.norm() for grad in grads.values()]).norm()
        distances = torch.stack(
            [
                _distance(low_grads[name], grad, size / 100)
                for name, grad in grads.items()
            ]
        )
        assert distances.max() < 0.7
        assert distances.median() < 0.05

    def test_double_precision(self) -> None:
        data, batch = self.data(), self.batch()
        model = self.make(data)
        expected = self.margin(model, data, batch)
        data = copy.copy(data).apply(
            lambda x: x.double() if x.is_floating_point() else x
        )
        model.double()
        margin = self.margin(model, data, batch)
        assert margin.dtype == torch.double
        torch.testing.assert_close(
            margin, expected.double(), rtol=1e-3, atol=1e-3
        )
        train_steps(model, data, full(modalities(data)))
        assert all(p.dtype == torch.double for p in model.parameters())
        assert self.margin(model, data, batch).isfinite().all()


def _distance(result: Tensor, expected: Tensor, least: Tensor) -> Tensor:
    """Return the distance of tensors, relative to them or something larger."""
    assert result.isfinite().all()
    size = torch.maximum(expected.norm(), least.norm())
    return (result - expected).norm() / size
