"""Pictures to vectors."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyg_ckd.datasets.text_encoder import model_identity

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageEncoder:
    """A vision model of `transformers <https://huggingface.co/docs>`_.

    Needs the extra ``features``. The model is loaded when it is first called.
    Of a model of text and images, such as CLIP, it takes the image embeddings,
    of others the pooled output.

    Args:
        model (str or PathLike, optional): A name on the Hugging Face hub, or a
            folder that holds a model and its image processor.
            (default: ``'openai/clip-vit-base-patch32'``)
        batch_size (int, optional): The number of pictures that are encoded at
            once. (default: :obj:`32`)
        device (str, optional): Where to encode. (default: a GPU if there is
            one)

    Raises:
        ImportError: When called, if ``transformers`` is missing.

    Shapes:
        - **output:** ``float32`` of shape ``[num_images, num_features]``
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = 'openai/clip-vit-base-patch32',
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        self.model = os.fspath(model)
        self.batch_size = batch_size
        gpu = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.device = device or gpu

    @torch.no_grad()
    def __call__(self, images: list[Image]) -> Tensor:
        size = self.batch_size
        return torch.cat(
            [
                self._encode(images[i : i + size])
                for i in range(0, len(images), size)
            ]
        )

    def __repr__(self) -> str:
        """Name what the features depend on: the content of a local folder."""
        return f'ImageEncoder({model_identity(self.model)!r})'

    def _encode(self, images: list[Image]) -> Tensor:
        processor, model = self._loaded
        pixels = processor(images=images, return_tensors='pt').pixel_values
        pixels = pixels.to(self.device)
        if hasattr(model, 'get_image_features'):
            out = model.get_image_features(pixel_values=pixels)
        else:
            out = model(pixel_values=pixels)
        x = out if isinstance(out, Tensor) else out.pooler_output
        return x.flatten(start_dim=1).float().cpu()

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        try:
            from transformers import AutoImageProcessor, AutoModel
        except ImportError:
            raise ImportError(
                "'ImageEncoder' needs 'transformers' and 'pillow'; "
                "`pip install 'pyg_ckd[features]'`, or pass any function from "
                'a list of PIL images to a matrix'
            ) from None
        # Processors of PIL need no torchvision:
        processor = AutoImageProcessor.from_pretrained(
            self.model, backend='pil'
        )
        model = AutoModel.from_pretrained(self.model).to(self.device).eval()
        return processor, model
