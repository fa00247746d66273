"""Pictures to vectors."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from pyg_ckd.datasets.features.model_identity import ModelIdentity
from pyg_ckd.kernels.arguments import check_whole


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
        ValueError: When called, if the model lacks weights, which would be
            random then, or has no pooled output; or if the folder has changed
            since features of the encoder were looked up.

    Shapes:
        - **output:** ``float32`` of shape ``[num_images, num_features]``

    Example:
        In its place, :class:`Catalogue` takes any function of a list of
        pictures, such as this one: of any network from ``[B, 3, H, W]`` to
        ``[B, D]``, with pixels scaled as it expects, known by its name.

        >>> import numpy as np
        >>> from PIL import Image
        >>> class NetworkEncoder:
        ...     def __init__(self, name, network, size=224):
        ...         self.name, self.network, self.size = name, network, size
        ...
        ...     @torch.no_grad()
        ...     def __call__(self, images):
        ...         size = (self.size, self.size)
        ...         x = np.stack([image.resize(size) for image in images])
        ...         x = torch.from_numpy(x).permute(0, 3, 1, 2) / 255
        ...         return self.network.eval()((x - 0.5) / 0.5)
        ...
        ...     def __repr__(self):
        ...         return f'NetworkEncoder({self.name}, {self.size})'
        >>> mean_colour = torch.nn.Sequential(
        ...     torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        ... )
        >>> encoder = NetworkEncoder('mean colour', mean_colour)
        >>> encoder([Image.new('RGB', (300, 200), 'red')])
        tensor([[ 1., -1., -1.]])
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = 'openai/clip-vit-base-patch32',
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        self.model = os.fspath(model)
        self.identity = ModelIdentity(self.model)
        check_whole('ImageEncoder', batch_size=batch_size)
        self.batch_size = int(batch_size)
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
        return f'ImageEncoder({self.identity.name!r})'

    def _encode(self, images: list[Image]) -> Tensor:
        processor, model = self._loaded
        pixels = processor(images=images, return_tensors='pt').pixel_values
        pixels = pixels.to(self.device)
        if hasattr(model, 'get_image_features'):
            out = model.get_image_features(pixel_values=pixels)
        else:
            out = model(pixel_values=pixels)
        x = out if isinstance(out, Tensor) else out.get('pooler_output')
        if x is None:
            raise ValueError(
                f"'{self.model}' has no pooled output; choose another model, "
                f'or pass any function from a list of PIL images to a matrix'
            )
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
        self.identity.check()
        # Processors of PIL need no torchvision:
        processor = AutoImageProcessor.from_pretrained(
            self.model, backend='pil'
        )
        model, info = AutoModel.from_pretrained(
            self.model, output_loading_info=True
        )
        if info['missing_keys']:
            missing = ', '.join(sorted(info['missing_keys']))
            raise ValueError(
                f"'{self.model}' has no weights for {missing}, which would be "
                f'random; choose another model, or pass any function from a '
                f'list of PIL images to a matrix'
            )
        return processor, model.to(self.device).eval()
