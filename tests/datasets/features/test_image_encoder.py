import io
import os
import random
import sys
import zipfile

import pytest
import torch
from PIL import Image

from pyg_ckd.datasets.catalogue import Catalogue
from pyg_ckd.datasets.features.image_encoder import ImageEncoder

os.environ['HF_HUB_OFFLINE'] = '1'  # No test may need the network.
SMALL = {
    'hidden_size': 8,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'intermediate_size': 16,
}
VISION = {**SMALL, 'image_size': 16, 'patch_size': 8}


def noise(width: int, height: int, seed: int) -> Image.Image:
    pixels = random.Random(seed).randbytes(width * height * 3)
    return Image.frombytes('RGB', (width, height), pixels)


IMAGES = [noise(16, 16, 0), noise(30, 20, 1), noise(9, 31, 2)]


@pytest.fixture
def transformers():
    return pytest.importorskip(
        'transformers', reason="needs the package 'transformers'"
    )


def save(model, processor, folder) -> str:
    """Save a model of pictures of 16 x 16 pixels."""
    model.save_pretrained(folder)
    size = {'height': 16, 'width': 16}
    processor(size=size, crop_size=size).save_pretrained(folder)
    return str(folder)


def save_vit(transformers, folder) -> str:
    config = transformers.ViTConfig(**VISION)
    model = transformers.ViTModel(config)
    return save(model, transformers.ViTImageProcessor, folder)


def test_image_encoder_of_pictures(transformers, tmp_path):
    folder = save_vit(transformers, tmp_path / 'vit')
    x = ImageEncoder(folder, device='cpu')(IMAGES)
    assert x.shape == (3, 8)
    assert x.dtype == torch.float32
    assert not x.requires_grad

    # Pixels are from -1 to 1, and need no resizing in the first picture:
    pixels = torch.frombuffer(bytearray(IMAGES[0].tobytes()), dtype=torch.uint8)
    pixels = pixels.view(1, 16, 16, 3).permute(0, 3, 1, 2) / 127.5 - 1
    model = transformers.ViTModel.from_pretrained(folder).eval()
    expected = model(pixels).pooler_output
    torch.testing.assert_close(x[:1], expected, atol=1e-5, rtol=1e-5)


def test_image_encoder_of_pictures_and_texts(transformers, tmp_path):
    config = transformers.CLIPConfig(
        text_config={**SMALL, 'vocab_size': 8, 'eos_token_id': 1},
        vision_config=VISION,
        projection_dim=6,
    )
    model = transformers.CLIPModel(config).eval()
    folder = save(model, transformers.CLIPImageProcessor, tmp_path / 'clip')
    x = ImageEncoder(folder, device='cpu')(IMAGES)
    assert x.shape == (3, 6)
    assert x.dtype == torch.float32

    processor = transformers.AutoImageProcessor.from_pretrained(
        folder, backend='pil'
    )
    pixels = processor(images=IMAGES, return_tensors='pt').pixel_values
    hidden = model.vision_model(pixels).pooler_output
    expected = model.visual_projection(hidden)
    torch.testing.assert_close(x, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('batch_size', [1, 2])
def test_image_encoder_does_not_depend_on_batches(
    transformers, tmp_path, batch_size
):
    folder = save_vit(transformers, tmp_path / 'vit')
    x = ImageEncoder(folder, device='cpu')(IMAGES)
    small = ImageEncoder(folder, batch_size, device='cpu')
    torch.testing.assert_close(small(IMAGES), x)
    torch.testing.assert_close(small(IMAGES[::-1]).flip([0]), x)


def test_image_encoder_refuses_random_weights(transformers, tmp_path):
    # A classifier has no weights for the pooled output.
    model = transformers.ViTForImageClassification(
        transformers.ViTConfig(**VISION)
    )
    folder = save(model, transformers.ViTImageProcessor, tmp_path / 'vit')
    with pytest.raises(ValueError, match=r"vit' has no weights for pooler"):
        ImageEncoder(folder, device='cpu')(IMAGES)


def test_image_encoder_refuses_models_without_a_vector(transformers, tmp_path):
    model = transformers.ViTMSNModel(transformers.ViTMSNConfig(**VISION))
    folder = save(model, transformers.ViTImageProcessor, tmp_path / 'msn')
    with pytest.raises(ValueError, match=r"msn' has no pooled output"):
        ImageEncoder(folder, device='cpu')(IMAGES)


def test_image_encoder_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ImportError, match=r"'pyg_ckd\[features\]'"):
        ImageEncoder()(IMAGES)


def test_image_encoder_names_what_features_depend_on(tmp_path):
    name = "ImageEncoder('openai/clip-vit-base-patch32')"
    assert str(ImageEncoder()) == name

    (tmp_path / 'config.json').write_text('{}')
    name = str(ImageEncoder(tmp_path))
    assert name.startswith("ImageEncoder('sha256:")
    assert str(ImageEncoder(tmp_path, batch_size=1, device='cpu')) == name
    (tmp_path / 'config.json').write_text('{ }')
    assert str(ImageEncoder(tmp_path)) != name


def test_image_encoder_of_a_catalogue(transformers, tmp_path):
    sales = ''.join(f'ann,{item}\n' for item in range(10))
    (tmp_path / 'sales.csv').write_text(f'user,item\n{sales}')
    with zipfile.ZipFile(tmp_path / 'images.zip', 'w') as archive:
        for item, image in enumerate(IMAGES):
            file = io.BytesIO()
            image.save(file, 'PNG')
            archive.writestr(f'{item}.png', file.getvalue())

    def features() -> torch.Tensor:
        dataset = Catalogue(
            tmp_path,
            tmp_path / 'sales.csv',
            images=tmp_path / 'images.zip',
            image_encoder=str(tmp_path / 'vit'),
            k_core=1,
            split='random',
        )
        return dataset[0]['item'].x_image[:3]

    folder = save_vit(transformers, tmp_path / 'vit')
    first = features()
    torch.testing.assert_close(first, ImageEncoder(folder)(IMAGES))
    # Other weights in the same folder are another encoder:
    save_vit(transformers, tmp_path / 'vit')
    second = features()
    torch.testing.assert_close(second, ImageEncoder(folder)(IMAGES))
    assert not second.allclose(first)
