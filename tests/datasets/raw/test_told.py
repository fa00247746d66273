import enum
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.transforms import BaseTransform, Compose, ToUndirected

from pyg_ckd.datasets import ImageEncoder, TextEncoder
from pyg_ckd.datasets.raw.told import is_told
from pyg_ckd.nn import FREEDOM
from pyg_ckd.transforms import ItemKNN, StandardizeModality, TrainOnAll


class Encoder(nn.Module):
    """Has weights that its `repr` does not show."""


class Named(Encoder):
    def __repr__(self):
        return 'Named()'


class Stateless(BaseTransform):
    def forward(self, data):
        return data


class Side(enum.Enum):
    LEFT = 1


@dataclass
class Settings:
    size: int


@dataclass
class Rows:
    x: object


@dataclass(slots=True)
class Slots:
    x: object


class More(Settings):
    pass


@pytest.mark.parametrize(
    'value',
    [
        *(None, 1, 2.5, 'text', b'bytes', True, ...),
        *(Path('a'), torch.float, Side.LEFT, np.float32(1), int, print),
        *([1, 'a'], (1, (2,)), {'a': [1]}, {1, 2}, range(3)),
        *(ItemKNN(5), StandardizeModality(), FREEDOM.pre_transform),
        *(TextEncoder('a'), ImageEncoder('a'), Stateless(), TrainOnAll()),
        *(Compose([ItemKNN(5), Stateless()]), Named(), Settings(3)),
        *(functools.partial(int, base=8), ItemKNN(5).forward),
        *(Rows(1), Rows([Rows('a')]), Rows(Rows), Slots(1)),
    ],
    ids=repr,
)
def test_values_that_are_told(value):
    assert is_told(value)


@pytest.mark.parametrize(
    'value',
    [
        *(lambda x: x, object(), Encoder()),
        *(nn.Linear(2, 2), ToUndirected(), More(3)),
        *(torch.zeros(2), np.zeros(2000)),
        *(Rows(torch.zeros(2)), Rows([np.zeros(2)]), Rows(torch.tensor(0.1))),
        *(Rows({'a': Rows((torch.zeros(2),))}), Slots(torch.zeros(2))),
        *([1, Encoder()], {'a': Encoder()}),
        Compose([ItemKNN(5), ToUndirected()]),
        functools.partial(lambda x: x),
        *(functools.partial(int, Encoder()), functools.partial(ToUndirected())),
        ToUndirected().forward,
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_are_not(value):
    assert not is_told(value)
