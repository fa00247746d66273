import pytest
import torch

from pyg_ckd.graph import RATES
from pyg_ckd.nn import Recommender
from pyg_ckd.nn.interactions import interaction_graph
from pyg_ckd.transforms import NormalizedAdjacency


@pytest.mark.parametrize('add_self_loops', [False, True])
@pytest.mark.parametrize('normalization', ['symmetric', 'row'])
def test_interaction_graph(normalization, add_self_loops, graph):
    """It is a block of the whole matrix, whatever that matrix is."""
    data = graph()
    edge_index = data[RATES].edge_index
    kept = (edge_index[0] != 3) & (edge_index[1] != 8)  # without edges
    data[RATES].edge_index = edge_index[:, kept]
    data = NormalizedAdjacency(normalization, add_self_loops)(data)
    model = Recommender(12, 9, {}, dim=4)
    adj_t, adj = interaction_graph(data, model)
    expected = data.adj_t.to_dense()[:12, 12:]
    assert expected.count_nonzero() == kept.sum()
    assert adj_t.values().numel() == kept.sum()
    torch.testing.assert_close(adj_t.to_dense(), expected)
    torch.testing.assert_close(adj.to_dense(), expected.t())
    for matrix in (adj_t, adj):  # a valid one
        torch.sparse_csr_tensor(
            matrix.crow_indices(),
            matrix.col_indices(),
            matrix.values(),
            matrix.shape,
            check_invariants=True,
        )


def test_missing_graph(graph):
    with pytest.raises(ValueError, match=r"'Recommender' needs data\.adj_t"):
        interaction_graph(
            graph(with_graphs=False), Recommender(12, 9, {}, dim=4)
        )
