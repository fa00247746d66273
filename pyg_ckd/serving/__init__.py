"""From a trained model to recommendations in a shop."""

from ._load import load, load_model
from ._names import Name, Names
from ._save import save
from .recommendations import Recommendations
from .served import Served

__all__ = [
    'Name',
    'Names',
    'Recommendations',
    'Served',
    'load',
    'load_model',
    'save',
]
