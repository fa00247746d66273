"""Tests of an objective."""

from __future__ import annotations

import copy
import pickle
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd import objectives
from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import BPRMF, FREEDOM, VBPR, Backbone
from pyg_ckd.objectives.objective import Objective
from pyg_ckd.objectives.step import Step
from pyg_ckd.testing._fake_graph import fake_graph
from pyg_ckd.testing._gradients import gradients
from pyg_ckd.testing.required import require
from pyg_ckd.testing.steps import batch_of, step_of
from pyg_ckd.transforms import ItemKNN
from pyg_ckd.views import Views, default_views, distinct_views, full, only


class ObjectiveSuite:
    """What holds for each objective.

    A test of an objective is a class with an attribute or two. The objective
    is compared with itself; that it computes what its formula says is for
    further tests.

    Attributes:
        objective (Objective): The objective.
        draws (bool): Whether it draws items, so that its loss is another with
            other numbers. (default: :obj:`False`)

    Example:
        >>> from pyg_ckd.objectives import BPR
        >>> class TestBPR(ObjectiveSuite):
        ...     objective = BPR()
        >>> TestBPR().test_double()
    """

    objective: ClassVar[Objective]
    draws: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        require(cls, 'objective', 'BPR()')

    def loss(self, step: Step) -> Tensor:
        """Return the loss, the same in each call."""
        torch.manual_seed(7)
        return self.objective.loss(step)

    @pytest.mark.parametrize('backbone', [BPRMF, VBPR, FREEDOM])
    def test_scalar_with_gradients(self, backbone: type[Backbone]) -> None:
        model, data = _prepared(backbone)
        views = model.views(data, [full(modalities(data))])
        loss = self.loss(step_of(views, data, batch_of(data)))
        assert loss.shape == ()
        assert loss.isfinite()
        grads = gradients(loss, model)
        assert all(grad.isfinite().all() for grad in grads.values())
        for name in ('user.weight', 'item.weight'):
            assert grads[name].any()

    @pytest.mark.parametrize('backbone', [BPRMF, VBPR, FREEDOM])
    def test_same_for_separate_views(self, backbone: type[Backbone]) -> None:
        """It does not matter what views share."""
        model, data = _prepared(backbone)
        keeps = distinct_views(modalities(data))
        batch = batch_of(data)
        shared, separate = (
            self.loss(step_of(views, data, batch, keeps))
            for views in (
                model.views(data, keeps),
                default_views(model, data, keeps),
            )
        )
        torch.testing.assert_close(shared, separate)
        torch.testing.assert_close(
            gradients(shared, model),
            gradients(separate, model),
            rtol=1e-4,
            atol=1e-5,
        )

    def test_trains_the_first_view(self) -> None:
        """Other views have no influence, whatever blocks they share."""
        model, data = _prepared(VBPR)
        batch = batch_of(data)
        keeps = [only('text'), only('image'), full(modalities(data))]
        step = step_of(model.views(data, keeps), data, batch, keeps)
        loss = self.loss(step)
        alone = step_of(model.views(data, keeps[:1]), data, batch, keeps[:1])
        torch.testing.assert_close(loss, self.loss(alone))
        grads = gradients(loss, model)
        assert grads['projection.text.weight'].any()
        assert not grads['projection.image.weight'].any()

    def test_constant_blocks_are_left_out(self) -> None:
        data = fake_graph()
        user, item = torch.randn(12, 4), torch.randn(9, 4)
        extra = [torch.randn(12, 3), torch.randn(1, 3).expand(9, 3)]
        views = Views([user], [item], torch.ones(1, 1))
        larger = Views(
            [user, extra[0]], [item, extra[1]], torch.ones(1, 2), constant=1
        )
        batch = batch_of(data)
        torch.testing.assert_close(
            self.loss(step_of(larger, data, batch)),
            self.loss(step_of(views, data, batch)),
        )

    def test_renumbering(self) -> None:
        """The numbers of users and items mean nothing."""
        if self.draws:
            pytest.skip('draws items by their numbers')
        data, (user, pos, neg) = fake_graph(), batch_of(fake_graph())
        user_emb, item_emb = torch.randn(12, 4), torch.randn(9, 4)
        new_user, new_item = torch.randperm(12), torch.randperm(9)
        other = copy.copy(data)
        known_user, known_item = data[RATES].edge_index
        other[RATES].edge_index = torch.stack(
            [new_user[known_user], new_item[known_item]]
        )
        keep = torch.ones(1, 1)
        views = Views([user_emb], [item_emb], keep)
        # The row of a node is where its new number says:
        moved = Views(
            [user_emb[new_user.argsort()]], [item_emb[new_item.argsort()]], keep
        )
        batch = new_user[user], new_item[pos], new_item[neg]
        torch.testing.assert_close(
            self.loss(step_of(moved, other, batch)),
            self.loss(step_of(views, data, (user, pos, neg))),
        )

    def test_falls_when_a_preferred_item_rises(self) -> None:
        data = fake_graph()
        user, pos = data[RATES].edge_index
        first = (user.unsqueeze(1) == torch.arange(12)).int().argmax(dim=0)
        pos = pos[first]  # an item of each user
        batch = torch.arange(12), pos, (pos + 1) % 9
        losses = []
        for rise in (0.0, 0.1, 0.2):
            score = torch.zeros(12, 9)
            score[0, pos[0]] = rise
            views = Views([torch.eye(12)], [score.t()], torch.ones(1, 1))
            losses.append(float(self.loss(step_of(views, data, batch))))
        assert losses[0] > losses[1] > losses[2]

    @pytest.mark.parametrize('backbone', [BPRMF, VBPR, FREEDOM])
    def test_trains(self, backbone: type[Backbone]) -> None:
        """A few steps of Adam lower the loss of all interactions."""
        model, data = _prepared(backbone)
        keeps = [full(modalities(data))]
        batch = batch_of(data, size=data[RATES].num_edges)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        losses = []
        for _ in range(20):
            loss = self.loss(step_of(model.views(data, keeps), data, batch))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.9 * losses[0]

    def test_double(self) -> None:
        data = fake_graph()
        batch = batch_of(data)
        user, item = torch.randn(12, 4), torch.randn(9, 4)
        losses = [
            self.loss(step_of(Views([u], [i], torch.ones(1, 1)), data, batch))
            for u, i in ((user, item), (user.double(), item.double()))
        ]
        assert [loss.dtype for loss in losses] == [torch.float, torch.double]
        torch.testing.assert_close(losses[0].double(), losses[1])

    def test_autocast(self) -> None:
        model, data = _prepared(VBPR)
        keeps = [full(modalities(data))]
        batch = batch_of(data)
        expected = self.loss(step_of(model.views(data, keeps), data, batch))
        with torch.autocast('cpu', torch.bfloat16):
            loss = self.loss(step_of(model.views(data, keeps), data, batch))
        assert loss.dtype == torch.float
        torch.testing.assert_close(loss, expected, rtol=0.05, atol=0.05)
        grads = gradients(loss, model)
        assert all(grad.isfinite().all() for grad in grads.values())

    def test_copies_and_equality(self) -> None:
        objective = self.objective
        for other in (
            copy.deepcopy(objective),
            pickle.loads(pickle.dumps(objective)),
            _read_back(objective),
        ):
            assert other == objective
            assert hash(other) == hash(objective)
            assert repr(other) == repr(objective)
        assert objective != object()


def _read_back(objective: Objective) -> object:
    """Return what the repr of an objective makes."""
    kind = objective.__class__
    try:
        return eval(repr(objective), {**vars(objectives), kind.__name__: kind})
    except Exception as error:
        raise AssertionError(
            f"'{kind.__name__}' has no repr that makes it again, as a frozen "
            f'dataclass has (got {objective!r})'
        ) from error


def _prepared(backbone: type[Backbone]) -> tuple[Backbone, HeteroData]:
    """Return a model with large parameters, and data with its graphs."""
    data = fake_graph()
    model = backbone.from_data(data, dim=4).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    if model.neighbors is not None:
        model.neighbors = ItemKNN(k=3, weight=model.neighbors.weight)
        data = model.neighbors(data)
    if model.adjacency is not None:
        data = model.adjacency(data)
    return model, data
