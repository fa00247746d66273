"""Data sets of user-item graphs with multimodal items."""

from .fake_multimodal import FakeMultimodal
from .mmrec_folder import MMRecFolder

__all__ = ['FakeMultimodal', 'MMRecFolder']
