"""Multimodal recommendation with balanced modalities, on PyTorch Geometric."""

__version__ = '0.1.0'
