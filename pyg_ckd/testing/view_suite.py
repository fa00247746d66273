"""Tests of the views of a backbone."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import modalities
from pyg_ckd.nn import Backbone
from pyg_ckd.testing._gradients import gradients
from pyg_ckd.testing._train_steps import step_loss
from pyg_ckd.testing.backbone_case import BackboneCase
from pyg_ckd.transforms import AblateModality
from pyg_ckd.views import (
    Keep,
    default_views,
    distinct_views,
    full,
    only,
    view,
    without,
)

CLOSE: dict[str, Any] = {'rtol': 1e-4, 'atol': 1e-4}
MODES = pytest.mark.parametrize(
    'training', [False, True], ids=['eval', 'train']
)
MODALITIES = pytest.mark.parametrize('num_modalities', [2, 3])


class ViewSuite(BackboneCase):
    """Views share work, see what they keep, and change nothing."""

    @MODES
    @MODALITIES
    def test_views_equal_default_views(
        self, num_modalities: int, training: bool
    ) -> None:
        """Sharing work changes no margin, no ranking and no gradient."""
        data = self.data(num_modalities)
        model = self.make(data, training)
        names = modalities(data)
        for keeps in (
            [*distinct_views(names), frozenset()],
            [full(names)],
            [only(names[-1])],
            [without(names, names[0]), only(names[0])],
        ):
            self._compare(model, data, keeps)

    def _compare(
        self, model: Backbone, data: HeteroData, keeps: list[Keep]
    ) -> None:
        batch = self.batch()
        own = model.views(data, keeps)
        default = default_views(model, data, keeps)
        margin = own.triples(*batch).margin()
        expected = default.triples(*batch).margin()
        assert margin.shape == (40, len(keeps))
        torch.testing.assert_close(margin, expected, **CLOSE)
        weight = torch.randn_like(margin)
        torch.testing.assert_close(
            gradients((margin * weight).sum(), model),
            gradients((expected * weight).sum(), model),
            **CLOSE,
        )
        for v, keep in enumerate(keeps):
            result, by_default, by_ablation = (
                user @ item.t()
                for user, item in (
                    own.embedding(v),
                    default.embedding(v),
                    view(model, data, keep),
                )
            )
            torch.testing.assert_close(
                differences(result), differences(by_ablation), **CLOSE
            )
            torch.testing.assert_close(by_default, by_ablation, **CLOSE)
            # With constant blocks, scores are the same, too:
            user, item = own.embedding(v, constants=True)
            torch.testing.assert_close(
                differences(user @ item.t()), differences(result), **CLOSE
            )

    def test_fine_tuned_features_are_ablated(self) -> None:
        """Views see the learned offsets of what they keep, and no others."""
        if 'train_features' not in inspect.signature(self.model).parameters:
            pytest.skip('does not fine-tune features')
        data, batch = self.data(), self.batch()
        model = self.make(data, train_features=True)
        keeps = distinct_views(modalities(data))
        self._compare(model, data, keeps)
        margin = self.margin(model, data, batch)
        with torch.no_grad():
            model.offset['text'].copy_(model.offset['text'].roll(1, dims=0))
        other = self.margin(model, data, batch)
        for v, keep in enumerate(keeps):
            if 'text' not in keep:
                torch.testing.assert_close(other[:, v], margin[:, v], **CLOSE)

    @MODES
    def test_full_view_equals_forward(self, training: bool) -> None:
        data = self.data(3)
        model = self.make(data, training)
        user, item = model(data)
        assert user.size(0) == 12
        assert item.size(0) == 9
        assert user.size(1) == item.size(1)
        keeps = [full(modalities(data))]
        result = model.views(data, keeps).embedding()
        torch.testing.assert_close(result, (user, item))

    @MODALITIES
    def test_ablation_hides_the_modality(self, num_modalities: int) -> None:
        """A view is blind to what it ablates, and sees what it keeps."""
        data, batch = self.data(num_modalities), self.batch()
        model = self.make(data)

        names = modalities(data)
        for m in names:
            other = copy.copy(data)
            # The same mean, of features that belong to other items:
            other['item'][f'x_{m}'] = data['item'][f'x_{m}'].roll(1, dims=0)
            other = self.with_graphs(other)
            for keep in distinct_views(names):
                same = torch.allclose(
                    self.margin(model, data, batch, [keep]),
                    self.margin(model, other, batch, [keep]),
                    atol=1e-4,
                )
                assert same == (self.blind or m not in keep)
                if m not in keep:  # nor does the loss see it
                    torch.testing.assert_close(
                        step_loss(model, data, keep, *batch),
                        step_loss(model, other, keep, *batch),
                        **CLOSE,
                    )

    def test_input_is_untouched(self) -> None:
        data = self.data()
        model = self.make(data, training=True)
        before = {m: data['item'][f'x_{m}'].clone() for m in modalities(data)}
        graphs = dict(data.graphs) if 'graphs' in data else {}
        state = copy.deepcopy(model.state_dict())
        parameters = dict(model.named_parameters())
        keeps = distinct_views(modalities(data))
        model.views(data, keeps)
        default_views(model, data, keeps)
        for m, x in before.items():
            assert torch.equal(data['item'][f'x_{m}'], x)
        assert (dict(data.graphs) if 'graphs' in data else {}) == graphs
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name])
        for name, parameter in model.named_parameters():
            assert parameter is parameters[name]

    def test_modalities_that_are_not_used(self) -> None:
        """They change nothing, and views may keep them."""
        data, batch = self.data(3), self.batch()
        model = self.make(data, use=['audio', 'image'])
        assert list(model.in_channels) == ['audio', 'image']
        expected = model(data)
        blind = AblateModality('text')(data)
        keep = frozenset(['audio', 'image'])
        for result in (model(blind), view(model, data, keep)):
            torch.testing.assert_close(result, expected)
        blind = AblateModality('audio')(data)
        same = torch.allclose(model(blind)[1], expected[1])
        assert same == self.blind
        keeps = distinct_views(modalities(data))
        torch.testing.assert_close(
            model.views(data, keeps).triples(*batch).margin(),
            default_views(model, data, keeps).triples(*batch).margin(),
            **CLOSE,
        )

    @MODALITIES
    def test_loss_of_each_view(self, num_modalities: int) -> None:
        """A view trains, whatever other views a step looks at."""
        data, batch = self.data(num_modalities), self.batch()
        model = self.make(data).train()
        keeps = distinct_views(modalities(data))
        for keep in keeps:
            model.start_epoch(data, keep)
            loss = step_loss(model, data, keep, *batch)
            for gradient in gradients(loss, model).values():
                assert gradient.isfinite().all()
            results = []
            for views in (
                model.views(data, [keep]),
                model.views(data, [keep, *keeps]),
            ):
                arguments = data, keep, views, *batch
                own = model.loss(*arguments)
                if own is None:
                    own = torch.as_tensor(model.regularization(*arguments))
                results.append(own)
            torch.testing.assert_close(*results, **CLOSE)


def differences(score: Tensor) -> Tensor:
    """Return scores less those of the first item, ``[N, num_items - 1]``.

    One constant for all items of a user cancels from a ranking.

    Args:
        score: Scores of shape ``[N, num_items]``.
    """
    return score[:, 1:] - score[:, :1]
