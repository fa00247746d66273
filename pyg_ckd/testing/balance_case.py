"""A balance and what it trains."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.balance import Balance
from pyg_ckd.graph import modalities
from pyg_ckd.nn import FREEDOM, VBPR, Recommender, as_recommender
from pyg_ckd.objectives import BPR, Objective
from pyg_ckd.testing._fake_graph import fake_graph
from pyg_ckd.testing.encoder_recommender import EncoderRecommender
from pyg_ckd.testing.required import require
from pyg_ckd.train import Recommendation
from pyg_ckd.train.losses import compute_losses
from pyg_ckd.views import full, view_name


class BalanceCase:
    """What the suite asks of a balance, and how it trains with one.

    Attributes are those of :class:`~pyg_ckd.testing.BalanceSuite`.
    """

    balance: ClassVar[Callable[[], Balance]]
    foreign: ClassVar[Callable[[], Balance] | None] = None
    margins_only: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        require(cls, 'balance', 'CKD')

    @pytest.fixture(autouse=True)
    def _seed(self) -> Iterator[None]:
        torch.manual_seed(0)
        yield

    def make(self, kind: str) -> Balance:
        """Return a balance for a kind of backbone."""
        suite = type(self)
        if kind == 'foreign' and suite.foreign is not None:
            return suite.foreign()
        return suite.balance()

    def data(self, num_modalities: int = 2) -> HeteroData:
        """Return a graph for any of the backbones."""
        return fake_graph(
            num_modalities,
            num_users=30,
            num_items=50,  # more than validation looks at
            pre_transform=FREEDOM.pre_transform,
        )

    def model(self, kind: str, data: HeteroData) -> nn.Module:
        """Return a model whose parameters are large enough to matter."""
        if kind == 'vbpr':
            model: nn.Module = VBPR.from_data(data, dim=4)
        elif kind == 'freedom':
            model = FREEDOM.from_data(data, dim=4)
        else:
            model = EncoderRecommender(data)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
        return model

    def attached(
        self, kind: str, num_modalities: int = 2
    ) -> tuple[Balance, Recommender, HeteroData]:
        """Return a balance that is ready for its first step."""
        data = self.data(num_modalities)
        recommender = as_recommender(self.model(kind, data))
        balance = self.make(kind)
        balance.attach(recommender, data)
        teacher = copy.deepcopy(recommender)
        for parameter in teacher.parameters():
            nn.init.normal_(parameter, std=0.5)
        balance.prepare(lambda keep: teacher)
        balance.begin(data)
        return balance, recommender, data

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return random triples."""
        pos = torch.randint(50, (40,))
        neg = (pos + torch.randint(1, 50, (40,))) % 50
        return torch.randint(30, (40,)), pos, neg

    def step(
        self,
        balance: Balance,
        recommender: Recommender,
        data: HeteroData,
        batch: tuple[Tensor, Tensor, Tensor],
        seed: int = 1,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and the gradients that a step leaves behind.

        A seed makes an epoch of its own, with all that a model draws for it.
        """
        both = nn.ModuleDict({'recommender': recommender, 'balance': balance})
        both.zero_grad()
        torch.manual_seed(seed)
        keep = full(modalities(data))
        recommender.start_epoch(data, keep)
        losses = compute_losses(
            recommender, data, keep, BPR(l2=0.0), balance, batch
        )
        for name, value in losses.scalars.items():
            assert value.dim() == 0 and not value.requires_grad, name
            assert value.isfinite(), name
        losses.total.backward()
        balance.after_backward()
        grads = {
            name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for name, p in both.named_parameters()
        }
        return losses.total.detach(), grads

    def learn(
        self, balance: Balance, recommender: Recommender, data: HeteroData
    ) -> None:
        """Take two steps of gradient descent, and one look at validation."""
        for seed in (2, 3):
            self.step(balance, recommender, data, self.batch(), seed)
            with torch.no_grad():
                for module in (recommender, balance):
                    for parameter in module.parameters():
                        if parameter.grad is not None:
                            parameter.sub_(0.1 * parameter.grad)
        self.validate(balance, data)

    def validate(self, balance: Balance, data: HeteroData) -> None:
        """Let a balance learn from an evaluation, of other views each."""
        values = {'val_recall@20': 0.5, 'val_ndcg@20': 0.4}
        for i, keep in enumerate(balance.watched):
            name = view_name(keep, modalities(data))
            values[f'val_recall@20/{name}'] = 0.1 + 0.2 * i
        balance.validated(values)

    def task(
        self, kind: str, objective: Objective | None = None, seed: int = 0
    ) -> Recommendation:
        """Return a task that trains a model in balance."""
        torch.manual_seed(seed)
        data = self.data()
        return Recommendation(
            self.model(kind, data),
            data,
            objective,
            self.make(kind),
            batch_size=32,
            lr=0.01,
        )
