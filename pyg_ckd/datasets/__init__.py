"""Data sets of user-item graphs with multimodal items."""

from ._audit import audit
from ._describe import describe, statistics
from ._description._page import describe_page
from ._description.lift import feature_lifts
from ._findings import Audit
from ._from_interactions import from_interactions
from ._open_dataset import open_dataset
from .amazon_2018 import Amazon2018
from .amazon_multimodal import AmazonMultimodal
from .amazon_reviews_2023 import AmazonReviews2023
from .catalogue import Catalogue
from .fake_multimodal import FakeMultimodal
from .features.image_encoder import ImageEncoder
from .features.new_items import NewItems
from .features.picture_urls import PictureDownload, PictureReport
from .features.text_encoder import TextEncoder
from .formats.lattice import to_lattice
from .formats.mmrec import to_mmrec
from .formats.recbole import to_recbole
from .graph_dataset import GraphDataset
from .interaction_table import InteractionTable
from .item_table import ItemTable
from .last_fm_2k import LastFM2K
from .lattice_folder import LATTICEFolder
from .micro_lens import MicroLens
from .mmrec_folder import MMRecFolder
from .movie_lens_1m import MovieLens1M
from .mrlib_folder import MRLibFolder
from .raw.limits import Limits
from .raw.renumbered import renumbered
from .recbole_folder import RecBoleFolder
from .splits import (
    BenchmarkSplit,
    ColdItemSplit,
    LATTICESplit,
    LeaveOneOut,
    MMRecSplit,
    PublishedSplit,
    RandomSplit,
    Split,
    TimeSplit,
)
from .tik_tok import TikTok

__all__ = [
    'Amazon2018',
    'AmazonMultimodal',
    'AmazonReviews2023',
    'Audit',
    'BenchmarkSplit',
    'Catalogue',
    'ColdItemSplit',
    'FakeMultimodal',
    'GraphDataset',
    'ImageEncoder',
    'InteractionTable',
    'ItemTable',
    'LATTICEFolder',
    'LATTICESplit',
    'LastFM2K',
    'LeaveOneOut',
    'Limits',
    'MMRecFolder',
    'MMRecSplit',
    'MRLibFolder',
    'MicroLens',
    'MovieLens1M',
    'NewItems',
    'PictureDownload',
    'PictureReport',
    'PublishedSplit',
    'RandomSplit',
    'RecBoleFolder',
    'Split',
    'TextEncoder',
    'TikTok',
    'TimeSplit',
    'audit',
    'describe',
    'describe_page',
    'feature_lifts',
    'from_interactions',
    'open_dataset',
    'renumbered',
    'statistics',
    'to_lattice',
    'to_mmrec',
    'to_recbole',
]
