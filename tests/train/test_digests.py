"""What a model may read of a graph tells the graph from others."""

import numpy as np
import pytest
import torch

from pyg_ckd.experiments.fingerprints import fingerprint
from pyg_ckd.graph import RATES
from pyg_ckd.testing import fake_graph
from pyg_ckd.train.digests import digest, digest_of_all


def with_(value):
    data = fake_graph()
    data['item'].extra = value
    return data


PAIRS = {
    'tensors': (torch.arange(9), torch.arange(9).flip(0)),
    'dtypes': (torch.ones(9), torch.ones(9, dtype=torch.int32)),
    'sparse': (torch.eye(2).to_sparse(), (2 * torch.eye(2)).to_sparse_csr()),
    'arrays': (np.arange(9), np.arange(9)[::-1]),
    'objects': (np.array(['a', 'bc'], object), np.array(['ab', 'c'], object)),
    'lists': ([1.0, 2.0], [2.0, 1.0]),
    'nested': ([[1], [2]], [[1, 2], []]),
    'lists of arrays': ([np.zeros(2000)], [np.eye(2000)[1]]),
    'texts': ('a', 'b'),
    'numbers': (1, 2),
}


@pytest.mark.parametrize('kind', PAIRS)
def test_what_a_model_may_read_counts(kind):
    one, other = map(with_, PAIRS[kind])
    for hash_of in (fingerprint, digest_of_all):
        assert hash_of(one) == hash_of(with_(PAIRS[kind][0]))
        assert hash_of(one) != hash_of(other)
        assert hash_of(one) != hash_of(fake_graph())
    assert digest(one) == digest(other)


def test_training_does_not_depend_on_test():
    one, other = fake_graph(), fake_graph()
    pairs = other[RATES].test_edge_label_index
    other[RATES].test_edge_label_index = pairs[:, 1:]
    assert digest_of_all(one) == digest_of_all(other)
    assert fingerprint(one) != fingerprint(other)
