"""The type of what comes out of each data set."""

from typing_extensions import reveal_type

from pyg_ckd.datasets import (
    AmazonMultimodal,
    Catalogue,
    FakeMultimodal,
    LATTICEFolder,
    MMRecFolder,
    from_interactions,
    open_dataset,
)

reveal_type(AmazonMultimodal('datasets', 'Baby')[0])  # HeteroData
reveal_type(Catalogue('shop', 'sales.csv', 'items.csv')[0])  # HeteroData
reveal_type(FakeMultimodal()[0])  # HeteroData
reveal_type(LATTICEFolder('datasets', 'baby')[0])  # HeteroData
reveal_type(MMRecFolder('datasets', 'baby')[0])  # HeteroData
reveal_type(open_dataset('datasets', 'baby')[0])  # HeteroData
reveal_type(from_interactions([0], [0]))  # HeteroData
