"""From a trained model to recommendations in a shop."""

from ._export import export
from ._load import load, load_model
from ._names import Name, Names
from ._save import save
from ._warm_start import warm_start
from .new_items import with_new_items
from .recommendations import Recommendations
from .served import Served

__all__ = [
    'Name',
    'Names',
    'Recommendations',
    'Served',
    'export',
    'load',
    'load_model',
    'save',
    'warm_start',
    'with_new_items',
]
