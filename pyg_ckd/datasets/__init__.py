"""Data sets of user-item graphs with multimodal items."""

from ._describe import describe, statistics
from ._from_interactions import from_interactions
from ._open_dataset import open_dataset
from .amazon_multimodal import AmazonMultimodal
from .catalogue import Catalogue
from .export import to_lattice, to_mmrec
from .fake_multimodal import FakeMultimodal
from .graph_dataset import GraphDataset
from .image_encoder import ImageEncoder
from .lattice_folder import LATTICEFolder
from .mmrec_folder import MMRecFolder
from .new_items import NewItems
from .splits import split_interactions
from .text_encoder import TextEncoder

__all__ = [
    'AmazonMultimodal',
    'Catalogue',
    'FakeMultimodal',
    'GraphDataset',
    'ImageEncoder',
    'LATTICEFolder',
    'MMRecFolder',
    'NewItems',
    'TextEncoder',
    'describe',
    'from_interactions',
    'open_dataset',
    'split_interactions',
    'statistics',
    'to_lattice',
    'to_mmrec',
]
