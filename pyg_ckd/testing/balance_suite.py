"""The tests that every balance inherits."""

from __future__ import annotations

import copy
import inspect
import io
import math
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.balance import Balance
from pyg_ckd.graph import modalities
from pyg_ckd.nn import Recommender, as_recommender
from pyg_ckd.objectives import BPR, Objective, Softmax
from pyg_ckd.testing.balance_case import BalanceCase
from pyg_ckd.testing.encoder_recommender import EncoderRecommender
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.train.losses import compute_losses
from pyg_ckd.views import default_views, full

__all__ = ['BalanceSuite', 'EncoderRecommender', 'assert_same']

KINDS = pytest.mark.parametrize('kind', ['vbpr', 'freedom', 'foreign'])
EXACT: dict[str, Any] = {'rtol': 0, 'atol': 0}


class BalanceSuite(BalanceCase):
    """The tests that every balance inherits.

    It applies to backbones with late fusion, with item graphs and to modules
    that are not ours; a step does not depend on how views are computed; what
    it learns is all in its state; copies act as it does; its ``repr`` holds
    all settings; and whatever it does, seeds and resumed runs give the same
    results.

    Attributes:
        balance (Callable[[], Balance]): Makes the balance: its class, or a
            function.
        foreign (Callable[[], Balance]): Makes it for a module that is not
            ours, :class:`EncoderRecommender`, if that needs arguments.
            (default: :obj:`None`)
        margins_only (bool): Whether margins are all that it looks at.
            (default: :obj:`True`)

    Example:
        >>> from pyg_ckd.balance import ModalityDropout
        >>> class TestModalityDropout(BalanceSuite):
        ...     balance = ModalityDropout
        >>> TestModalityDropout().test_attach('vbpr')
    """

    # A step #################################################################

    @KINDS
    def test_attach(self, kind: str) -> None:
        """It applies, and the recommender does not become a part of it."""
        balance, recommender, _ = self.attached(kind)
        theirs = {id(p) for p in recommender.parameters()}
        assert not theirs & {id(p) for p in balance.parameters()}
        assert recommender not in list(balance.modules())

    @KINDS
    @pytest.mark.parametrize('num_modalities', [2, 3])
    def test_step(self, kind: str, num_modalities: int) -> None:
        """Its views are views of the data, and gradients are finite."""
        if kind == 'foreign' and num_modalities == 3:
            pytest.skip('arguments are those for two modalities')
        balance, recommender, data = self.attached(kind, num_modalities)
        names = set(modalities(data))
        for keep in [*balance.keeps, *balance.watched]:
            assert isinstance(keep, frozenset) and keep <= names
        loss, grads = self.step(balance, recommender, data, self.batch())
        assert loss.isfinite()
        assert any(grad.any() for grad in grads.values())
        for name, grad in grads.items():
            assert grad.isfinite().all(), name

    @KINDS
    def test_trained_view(self, kind: str) -> None:
        """What is trained is a part of the task's view, and not nothing."""
        balance, _, data = self.attached(kind)
        keep = full(modalities(data))
        for _ in range(20):
            trained = balance.trained_view(keep)
            assert isinstance(trained, frozenset)
            assert trained and trained <= keep

    @pytest.mark.parametrize('kind', ['vbpr', 'freedom'])
    def test_shared_views_equal_default_views(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """How a model computes its views makes no difference."""
        if not self.margins_only:
            pytest.skip('looks at embeddings, which views may cut differently')
        balance, recommender, data = self.attached(kind)
        batch = self.batch()
        other = copy.deepcopy((balance, recommender, data))
        monkeypatch.setattr(other[1], 'views', partial(default_views, other[1]))
        torch.testing.assert_close(
            self.step(balance, recommender, data, batch),
            self.step(*other, batch),
            rtol=1e-4,
            atol=1e-5,
        )

    @KINDS
    def test_looking_changes_nothing(self, kind: str) -> None:
        """A loss that is not followed by a step leaves the state alone."""
        balance, recommender, data = self.attached(kind)
        self.learn(balance, recommender, data)
        before = copy.deepcopy(balance.state_dict())
        keep, batch = full(modalities(data)), self.batch()
        totals = []
        for _ in range(2):
            torch.manual_seed(4)
            totals.append(
                compute_losses(
                    recommender, data, keep, None, balance, batch
                ).total
            )
        torch.testing.assert_close(*totals, **EXACT)
        assert_same(balance.state_dict(), before)

    def test_one_modality(self) -> None:
        """There is nothing to balance, which it says by its name."""
        data = self.data(1)
        model = as_recommender(self.model('vbpr', data))
        balance = self.make('vbpr')
        with pytest.raises(ValueError, match=type(balance).__name__):
            balance.attach(model, data)

    # State and copies #######################################################

    @KINDS
    def test_state_dict(self, kind: str) -> None:
        """All that it has learned is in its state, which can be saved."""
        balance, recommender, data = self.attached(kind)
        self.learn(balance, recommender, data)
        file = io.BytesIO()
        torch.save((balance.state_dict(), recommender.state_dict()), file)
        file.seek(0)
        states = torch.load(file, weights_only=True)

        torch.manual_seed(9)
        other, model, _ = self.attached(kind)
        other.load_state_dict(states[0])
        model.load_state_dict(states[1])
        assert_same(other.state_dict(), balance.state_dict())
        self._compare((balance, recommender, data), (other, model, data))

    @KINDS
    def test_copies(self, kind: str) -> None:
        """Copies act as it does, and what they learn is their own."""
        original = self.attached(kind)
        self.learn(*original)
        before = copy.deepcopy(original[0].state_dict())
        pickled = pickle.loads(pickle.dumps(original))
        for other in (copy.deepcopy(original), pickled):
            self._compare(copy.deepcopy(original), other)
            self.learn(*other)
            assert_same(original[0].state_dict(), before)

    @KINDS
    def test_repr(self, kind: str) -> None:
        """It holds all settings, and nothing that training changes."""
        task = self.task(kind)
        before = repr(task.balance)
        settings = inspect.signature(type(task.balance)).parameters
        for name in settings.keys() - {'teachers'}:
            assert f'{name}=' in before
        assert before == repr(self.make(kind))
        fit(task, max_epochs=1, progress=False)
        assert repr(task.balance) == before

    def _compare(
        self,
        one: tuple[Balance, Recommender, HeteroData],
        other: tuple[Balance, Recommender, HeteroData],
    ) -> None:
        """Compare two steps, exactly."""
        for seed in (5, 6):
            batch = self.batch()
            torch.testing.assert_close(
                self.step(*other, batch, seed),
                self.step(*one, batch, seed),
                **EXACT,
            )
        assert_same(other[0].state_dict(), one[0].state_dict())

    # Training ###############################################################

    @KINDS
    @pytest.mark.parametrize('objective', [BPR(), Softmax()], ids=repr)
    def test_fit(self, kind: str, objective: Objective) -> None:
        """It trains any backbone, with any objective."""
        task = self.task(kind, objective)
        before = copy.deepcopy(task.recommender.state_dict())
        fit(task, max_epochs=2, eval_every=1, progress=False)
        assert [entry['epoch'] for entry in task.history] == [1, 2]
        for entry in task.history:
            assert all(math.isfinite(value) for value in entry.values())
        changed = [
            not torch.equal(value, before[name])
            for name, value in task.recommender.state_dict().items()
        ]
        assert any(changed)

    def test_given_is_unchanged(self) -> None:
        """One object serves several tasks, which share nothing."""
        given, data = self.make('vbpr'), self.data()
        before = copy.deepcopy(given.state_dict())
        model = self.model('vbpr', data)
        first, second = (
            Recommendation(copy.deepcopy(model), data, balance=given, lr=0.01)
            for _ in range(2)
        )
        assert second.balance is not None
        state = copy.deepcopy(second.balance.state_dict())
        fit(first, max_epochs=1, progress=False)
        assert_same(given.state_dict(), before)
        assert_same(second.balance.state_dict(), state)

    @KINDS
    def test_seed(self, kind: str) -> None:
        """The same seed gives the same result."""
        states = []
        for _ in range(2):
            task = self.task(kind)
            fit(task, max_epochs=2, eval_every=1, progress=False)
            states.append((task.history, task.state_dict()))
        assert_same(*states)

    @KINDS
    def test_resume(self, kind: str, tmp_path: Path) -> None:
        """A run that was stopped goes on as if it had not been."""
        whole, resumed = self.task(kind), self.task(kind, seed=7)
        saving = ModelCheckpoint(tmp_path, filename='{epoch}', save_top_k=-1)
        kwargs: dict[str, Any] = {
            'max_epochs': 3,
            'eval_every': 1,
            'progress': False,
        }
        fit(whole, callbacks=[saving], **kwargs)
        fit(resumed, ckpt_path=str(tmp_path / 'epoch=1.ckpt'), **kwargs)
        assert_same(resumed.history, whole.history)
        assert_same(resumed.state_dict(), whole.state_dict())


def assert_same(one: Any, other: Any) -> None:
    """Compare nested states, exactly.

    Args:
        one: Tensors and plain values in dictionaries, lists and tuples.
        other: What it should be.

    Example:
        >>> assert_same({'x': torch.ones(2)}, {'x': torch.ones(2)})
    """
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        torch.testing.assert_close(one, other, equal_nan=True, **EXACT)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other
