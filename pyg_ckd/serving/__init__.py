"""From a trained model to recommendations in a shop."""

from ._export import export, export_items
from ._load import load, load_model
from ._names import Name, Names
from ._save import save
from ._warm_start import warm_start
from .cold_items import ColdItems
from .faiss_index import FaissIndex
from .hub import from_pretrained, push_to_hub
from .linear_map import LinearMap
from .new_items import with_new_items
from .recommendations import Recommendations
from .served import Served

__all__ = [
    'ColdItems',
    'FaissIndex',
    'LinearMap',
    'Name',
    'Names',
    'Recommendations',
    'Served',
    'export',
    'export_items',
    'from_pretrained',
    'load',
    'load_model',
    'push_to_hub',
    'save',
    'warm_start',
    'with_new_items',
]
