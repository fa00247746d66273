import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pyg_ckd.experiments.backbones import BACKBONES
from pyg_ckd.experiments.identity import identity_of
from pyg_ckd.nn import VBPR, LightGCN


class Maker:
    def __init__(self, dim):
        self.dim = dim

    def make(self, data):
        return VBPR.from_data(data, dim=self.dim)


@dataclass(slots=True)
class Slotted:
    dim: int

    def __call__(self, data):
        return VBPR.from_data(data, dim=self.dim)


def factory(width):
    class Wide(VBPR):
        def forward(self, data):
            user, item = super().forward(data)
            return width * user, item

    return Wide


def holding(value):
    return lambda data: value


def with_keyword(sizes):
    def make(data, *, sizes=sizes):
        return sizes

    return make


def typed_in(text):
    names = {}
    exec(text, names)
    return names['make']


PAIRS = [
    (Maker(4).make, Maker(32).make),
    (VBPR.from_data, LightGCN.from_data),
    (Slotted(4), Slotted(32)),
    (factory(1), factory(2)),
    (with_keyword((4,)), with_keyword((32,))),
    (typed_in('def make(d): return 4'), typed_in('def make(d): return 5')),
    (partial(VBPR.from_data, dim=4), partial(VBPR.from_data, dim=5)),
    *[
        (holding(one), holding(other))
        for one, other in [
            (4, 5),
            (4, 4.5),
            ([[1], [2, 3]], [[1, 2], [3]]),
            ([], ()),
            ({'a': 1}, {'a': 2}),
            ({'a', 'b'}, {'a', 'c'}),
            (np.int64(4), np.int64(8)),
            (np.zeros(2), np.ones(2)),
            (torch.zeros(2), torch.ones(2)),
            (torch.zeros(2), torch.zeros(2).double()),
            (torch.eye(2).to_sparse(), 2 * torch.eye(2).to_sparse()),
            (torch.float32, torch.float64),
            (Path('a'), Path('b')),
            (range(3), range(4)),
            ([[[[[[[[[1]]]]]]]]], [[[[[[[[[2]]]]]]]]]),
        ]
    ],
]


@pytest.mark.parametrize('pair', PAIRS, ids=map(str, range(len(PAIRS))))
def test_unlike_makers(pair):
    one, other = map(identity_of, pair)
    assert one and other and one != other
    assert identity_of(pair[0]) == one


@pytest.mark.parametrize('name', BACKBONES)
def test_those_of_the_library_have_none(name):
    assert identity_of(BACKBONES[name], name) == ''
    assert identity_of(BACKBONES[name], 'mine') != ''


def test_classes_of_the_library_by_another_name():
    classes = [BACKBONES[name] for name in ('VBPR', 'BPRMF')]
    assert len({identity_of(made, 'mine') for made in classes}) == 2
    assert identity_of(classes[0], 'BPRMF') != identity_of(classes[1], 'BPRMF')


def test_what_repeats_is_told_by_what_it_repeats():
    one, other = torch.nn.Linear, torch.nn.Bilinear
    shapes = [[one, other, one], [one, other, other], [one, one, other]]
    assert len({identity_of(holding(shape)) for shape in shapes}) == 3
    tensors = torch.zeros(2), torch.ones(2)
    lists = [[tensors[0], tensors[1], tensors[place]] for place in (0, 1)]
    assert len({identity_of(holding(each)) for each in lists}) == 2


def test_what_is_hard_to_look_at():
    own = Maker(3)
    own.me = own  # a circle
    assert identity_of(own.make) == identity_of(own.make)
    with pytest.raises(ValueError, match='holds more than 100,000 values'):
        identity_of(holding(list(range(200_000))))
    big = torch.eye(2).to_sparse_csr(), torch.empty(2, device='meta')
    assert identity_of(holding(big))

    def early(data):
        return late

    assert identity_of(early)  # of an empty cell
    late = 3
    assert identity_of(early)


def test_equal_in_each_process():
    code = (
        'from pyg_ckd.experiments.identity import identity_of\n'
        'def f(words):\n'
        '    return lambda data: (words, data in {"x", "y", "z"})\n'
        'print(identity_of(f({"a", "b", "c"})), identity_of(f({"k": 1})))'
    )
    found = {
        subprocess.run(
            [sys.executable, '-c', code],
            env={'PYTHONHASHSEED': str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(found) == 1
