"""Tests of how a backbone is made, copied, cast and saved."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import modalities
from pyg_ckd.nn import Backbone
from pyg_ckd.testing._fake_graph import fake_graph
from pyg_ckd.testing._train_steps import train_steps
from pyg_ckd.testing.backbone_case import BackboneCase
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency
from pyg_ckd.views import distinct_views

SIZES = {'image': 5, 'text': 7}
EXACT: dict[str, Any] = {'rtol': 0, 'atol': 0}


class LifeCycleSuite(BackboneCase):
    """A backbone is a module like others, and says which graphs it needs."""

    def test_from_data(self) -> None:
        data = self.data(3)
        model = self.model.from_data(data, dim=3)
        assert isinstance(model, self.model)
        assert isinstance(model, Backbone)
        assert (model.num_users, model.num_items) == (12, 9)
        assert model.in_channels == {'image': 5, 'text': 5, 'audio': 5}
        assert model.dim == 3

    def test_repr(self) -> None:
        model = self.model(10, 8, SIZES, dim=4)
        name = self.model.__name__
        sizes = f"{name}(10, 8, {{'image': 5, 'text': 7}}, dim=4"
        assert repr(model).startswith(sizes)
        assert repr(eval(repr(model), {name: self.model})) == repr(model)

    def test_reset_parameters(self) -> None:
        model: Any = self.model(10, 8, SIZES, dim=4)
        initial = {n: p.abs().max() for n, p in model.named_parameters()}
        for parameter in model.parameters():
            nn.init.constant_(parameter, 7.0)
        model.reset_parameters()
        first = copy.deepcopy(model.state_dict())
        for name, value in first.items():
            assert value.abs().max() < 6, name  # nothing was left out
            assert (value.abs().max() == 0) == (initial[name] == 0), name
        model.reset_parameters()
        for name, value in model.state_dict().items():
            if initial[name] > 0:
                assert not torch.equal(value, first[name]), name

    def test_seed(self) -> None:
        data = self.with_graphs(fake_graph())
        outputs = []
        for _ in range(2):
            torch.manual_seed(1)
            outputs.append(self.model.from_data(data, dim=4).eval()(data))
        torch.testing.assert_close(*outputs, **EXACT)

    def test_state_dict(self) -> None:
        data = self.data()
        first, second = self.make(data), self.make(data)
        second.load_state_dict(first.state_dict())
        torch.testing.assert_close(first(data), second(data), **EXACT)

    @pytest.mark.parametrize('size', [0, -1])
    @pytest.mark.parametrize('name', ['num_users', 'num_items', 'dim', 'text'])
    def test_size_error(self, name: str, size: int) -> None:
        sizes = {'num_users': 10, 'num_items': 8, 'dim': 4}
        channels = dict(SIZES)
        (sizes if name in sizes else channels)[name] = size
        name = name if name in sizes else r"in_channels\['text'\]"
        with pytest.raises(
            ValueError, match=rf"'{name}'.*'{self.model.__name__}' \(got {size}"
        ):
            self.model(**sizes, in_channels=channels)  # type: ignore[arg-type]

    def test_parameters_of_a_modality(self) -> None:
        """They go by its name, and tables are among them."""
        model = self.make(self.data(3))
        for m in model.in_channels:
            expected = {
                name
                for name, _ in model.named_parameters()
                if m in name.split('.')
            }
            names = {id(p): name for name, p in model.named_parameters()}
            own = [names[id(p)] for p in model.modality_parameters(m)]
            assert len(own) == len(set(own))
            assert set(own) == expected
            for table in model.tables(m):
                assert names[id(table)] in expected
                assert len(table) in (12, 9, 12 + 9)
        assert model.modality_parameters('sound') == []
        assert list(model.tables('sound')) == []

    # Graphs #################################################################

    def test_pre_transform(self) -> None:
        """The transform that a model names gives it all it needs."""
        data = fake_graph()
        if self.model.pre_transform is not None:
            data = self.model.pre_transform(data)
        model = self.model.from_data(data, dim=4)
        keeps = distinct_views(modalities(data))
        assert self.margin(model, data, self.batch()).isfinite().all()
        for keep in keeps:
            train_steps(model, data, keep)
        assert self.margin(model, data, self.batch()).isfinite().all()

    def test_missing_or_other_graphs(self) -> None:
        """No other normalisation is used in silence."""
        data = fake_graph()
        model = self.make(data)
        name, adjacency = self.model.__name__, model.adjacency
        if adjacency is not None:
            other = NormalizedAdjacency(
                'row'
                if adjacency.normalization == 'symmetric'
                else 'symmetric',
                adjacency.add_self_loops,
            )
            for wrong in (data, other(data)):
                self._fails(model, wrong, rf"'{name}' needs .*", adjacency)
            self._fails(model, other(data), '.* which has ', other)
            data = adjacency(data)
        neighbors = model.neighbors
        if neighbors is not None:
            same = neighbors.weight
            binary, cosine = ItemKNN(3, 'binary'), ItemKNN(3, 'cosine')
            other_weight = cosine if same == 'binary' else binary
            for wrong in (other_weight, ItemKNN(4, same)):
                self._fails(model, wrong(data), '.* which has .*', wrong)
            for wrong_data in (data, ItemKNN(4, same)(data)):
                self._fails(model, wrong_data, f"'{name}' needs .*", neighbors)
            data = neighbors(data)
        assert self.margin(model, data, self.batch()).isfinite().all()

    def _fails(
        self, model: Backbone, data: HeteroData, text: str, transform: Any
    ) -> None:
        keeps = distinct_views(modalities(data))
        match = text + re.escape(repr(transform))
        for call in (
            lambda: model(data),
            lambda: model.views(data, keeps),
        ):
            with pytest.raises(ValueError, match=match) as error:
                call()
            advice = f'{self.model.__name__}.pre_transform(data)'
            assert advice in str(error.value)
