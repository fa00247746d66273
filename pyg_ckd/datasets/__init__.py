"""Data sets of user-item graphs with multimodal items."""

from ._describe import describe, statistics
from ._from_interactions import from_interactions
from ._open_dataset import open_dataset
from .amazon_multimodal import AmazonMultimodal
from .catalogue import Catalogue
from .fake_multimodal import FakeMultimodal
from .features.image_encoder import ImageEncoder
from .features.new_items import NewItems
from .features.text_encoder import TextEncoder
from .formats.lattice import to_lattice
from .formats.mmrec import to_mmrec
from .graph_dataset import GraphDataset
from .lattice_folder import LATTICEFolder
from .mmrec_folder import MMRecFolder
from .splits import (
    ColdItemSplit,
    LATTICESplit,
    LeaveOneOut,
    MMRecSplit,
    PublishedSplit,
    RandomSplit,
    Split,
    TimeSplit,
)

__all__ = [
    'AmazonMultimodal',
    'Catalogue',
    'ColdItemSplit',
    'FakeMultimodal',
    'GraphDataset',
    'ImageEncoder',
    'LATTICEFolder',
    'LATTICESplit',
    'LeaveOneOut',
    'MMRecFolder',
    'MMRecSplit',
    'NewItems',
    'PublishedSplit',
    'RandomSplit',
    'Split',
    'TextEncoder',
    'TimeSplit',
    'describe',
    'from_interactions',
    'open_dataset',
    'statistics',
    'to_lattice',
    'to_mmrec',
]
