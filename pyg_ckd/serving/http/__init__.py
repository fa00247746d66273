"""A small HTTP service over saved models; needs the extra ``serve``."""

from ._app import create_app
from .live import Live

__all__ = ['Live', 'create_app']
