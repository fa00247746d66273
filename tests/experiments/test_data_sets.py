import pytest
import torch
from torch_geometric.transforms import BaseTransform

from pyg_ckd.datasets import FakeMultimodal, to_mmrec
from pyg_ckd.experiments.data_sets import FAKES, opener
from pyg_ckd.graph import fingerprint, modalities
from pyg_ckd.nn import LightGCN


class Scaled(BaseTransform):
    def __init__(self, by):
        self.by = by

    def forward(self, data):
        data['item'].x_text = data['item'].x_text * self.by
        return data

    def __repr__(self):
        return f'Scaled({self.by})'


class Shifted(Scaled):
    def forward(self, data):
        data['item'].x_text = data['item'].x_text + self.by
        return data


def test_fakes():
    assert {n: modalities(opener(n)(None)) for n in FAKES} == {
        'fake': ['image', 'text'],
        'fake3': ['text', 'image', 'audio'],
    }
    plain = FakeMultimodal()[0]
    assert fingerprint(opener('fake')(None)) == fingerprint(plain)
    graph = opener('fake')(LightGCN.pre_transform)
    assert 'graphs' in graph


def test_order_of_transforms():
    plain = opener('fake')(None)['item'].x_text
    found = opener('fake', before=Scaled(3))(Shifted(1))['item'].x_text
    torch.testing.assert_close(found, 3 * plain + 1)
    assert torch.equal(
        opener('fake', before=Scaled(3))(None)['item'].x_text, 3 * plain
    )


def test_folder(tmp_path):
    data = FakeMultimodal(num_users=20, num_items=30)[0]
    to_mmrec(data, tmp_path / 'raw' / 'shop')
    kept = tmp_path / 'kept'
    found = opener('shop', tmp_path / 'raw', kept, Scaled(2))(None)
    assert kept.is_dir()
    torch.testing.assert_close(
        found['item'].x_text.sort(dim=0).values,
        2 * data['item'].x_text.sort(dim=0).values,
    )


def test_no_such_data_set(tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match='nowhere'):
        opener('nowhere', tmp_path)(None)
