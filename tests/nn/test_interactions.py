import pytest
import torch

from pyg_ckd.graph import RATES
from pyg_ckd.nn import Backbone
from pyg_ckd.nn.interactions import interaction_graph
from pyg_ckd.testing import fake_graph
from pyg_ckd.transforms import NormalizedAdjacency


@pytest.mark.parametrize('add_self_loops', [False, True])
@pytest.mark.parametrize('normalization', ['symmetric', 'row'])
def test_interaction_graph(normalization, add_self_loops):
    """It is a block of the whole matrix, whatever that matrix is."""
    transform = NormalizedAdjacency(normalization, add_self_loops)
    data = transform(fake_graph(lonely=True))
    num_edges = data[RATES].edge_index.size(1)
    model = Backbone(12, 9, {}, dim=4)
    model.adjacency = transform
    adj_t, adj = interaction_graph(data, model)
    graph = transform.of(data)
    expected = graph.adj_t.to_dense()[:12, 12:]
    assert expected.count_nonzero() == adj_t.values().numel() == num_edges
    torch.testing.assert_close(adj_t.to_dense(), expected)
    torch.testing.assert_close(adj.to_dense(), graph.adj.to_dense()[12:, :12])
    torch.testing.assert_close(adj.to_dense(), expected.t())
    for matrix in (adj_t, adj):  # a valid one
        torch.sparse_csr_tensor(
            matrix.crow_indices(),
            matrix.col_indices(),
            matrix.values(),
            matrix.shape,
            check_invariants=True,
        )


def test_missing_graph():
    model = Backbone(12, 9, {}, dim=4)
    model.adjacency = NormalizedAdjacency()
    with pytest.raises(ValueError, match=r"'Backbone' needs a graph: Norm"):
        interaction_graph(fake_graph(), model)
