"""Sentences to vectors."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pyg_ckd.datasets.features.model_identity import ModelIdentity
from pyg_ckd.kernels.arguments import check_whole


class TextEncoder:
    """A sentence encoder of `sentence-transformers <https://sbert.net>`_.

    Needs the extra ``features``. The model is loaded when it is first called.

    Args:
        model (str or PathLike, optional): A name on the Hugging Face hub, or a
            folder that holds a model. (default: ``'all-MiniLM-L6-v2'``, which
            MMRec's features of 384 dimensions come from)
        batch_size (int, optional): The number of sentences that are encoded at
            once. (default: :obj:`64`)
        device (str, optional): Where to encode. (default: a GPU if there is
            one)

    Raises:
        ImportError: When called, if ``sentence-transformers`` is missing.
        ValueError: When called, if the folder has changed since features of
            the encoder were looked up.

    Shapes:
        - **output:** ``float32`` of shape ``[num_texts, num_features]``
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = 'all-MiniLM-L6-v2',
        batch_size: int = 64,
        device: str | None = None,
    ) -> None:
        self.model = os.fspath(model)
        self.identity = ModelIdentity(self.model)
        check_whole('TextEncoder', batch_size=batch_size)
        self.batch_size = int(batch_size)
        self.device = device

    def __call__(self, texts: list[str]) -> Tensor:
        return self._encoder.encode(
            texts,
            batch_size=self.batch_size,
            convert_to_tensor=True,
            show_progress_bar=False,
        ).to('cpu', torch.float32)

    def __repr__(self) -> str:
        """Name what the features depend on: the content of a local folder."""
        return f'TextEncoder({self.identity.name!r})'

    @cached_property
    def _encoder(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise ImportError(
                "'TextEncoder' needs 'sentence-transformers'; "
                "`pip install 'pyg_ckd[features]'`, or pass any function from "
                'a list of texts to a matrix'
            ) from None
        self.identity.check()
        return SentenceTransformer(self.model, device=self.device)
