import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pyg_ckd.datasets.features.feature_cache import FeatureCache
from pyg_ckd.datasets.features.item_files import ItemFiles
from pyg_ckd.datasets.features.pictures import PICTURES


class Lengths:
    """The lengths of texts."""

    def __init__(self):
        self.texts = []

    def __call__(self, texts):
        self.texts += texts
        return torch.tensor([[float(len(text))] for text in texts])

    def __repr__(self):
        return 'Lengths()'


def test_texts_are_encoded_once(tmp_path):
    encoder, cache = Lengths(), FeatureCache(str(tmp_path))
    x, has = cache.encode_texts(encoder, ['a cup', '', 'tea'])
    assert x.tolist() == [[5.0], [0.0], [3.0]]
    assert has.tolist() == [True, False, True]
    records = [{'title': 'tea'}, {}, {'title': ' '}, {'title': 'a cup'}]
    x, has = cache.encode_records(encoder, '{title}', records)
    assert x.tolist() == [[3.0], [0.0], [0.0], [5.0]]
    assert has.tolist() == [True, False, False, True]
    assert encoder.texts == ['a cup', 'tea']


class Embedding(nn.Module):
    """Its inherited `repr` does not show its weights."""

    def __init__(self, weight):
        super().__init__()
        self.linear = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.linear.weight, weight)

    @torch.no_grad()
    def forward(self, texts):
        return self.linear(torch.tensor([[float(len(t))] for t in texts]))


def test_features_of_other_weights_are_not_taken(tmp_path):
    cache = FeatureCache(str(tmp_path))
    for weight in (2.0, 3.0):
        with pytest.warns(UserWarning, match="encoder of 'text' cannot be tol"):
            x, _ = cache.encode_texts(Embedding(weight), ['cup'])
        assert x.tolist() == [[3 * weight]]


class Colours:
    """The colours of pictures, and the memory that is taken beside them."""

    def __init__(self):
        self.sizes = []
        self.memory = [resident()]

    def __call__(self, images):
        assert len(images) <= 32
        self.sizes += [image.size for image in images]
        self.memory.append(resident())
        return np.array([image.getpixel((0, 0)) for image in images], float)

    def __repr__(self):
        return 'Colours()'


def resident() -> int:
    """Return the bytes of memory that this process takes now."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE')


@pytest.mark.skipif(
    not Path('/proc/self/statm').exists(), reason='needs /proc of Linux'
)
def test_photos_are_a_stream(tmp_path):
    """80 photos of 12 Mpixel take 3 GB if all of them are decoded at once."""
    file = io.BytesIO()
    Image.new('RGB', (4000, 3000), (250, 0, 0)).save(file, 'JPEG')
    names = [f'photo{i}' for i in range(80)]
    for name in names:  # What follows the end of a JPEG makes it another file.
        content = file.getvalue() + name.encode()
        (tmp_path / f'{name}.jpg').write_bytes(content)
    encoder, cache = Colours(), FeatureCache(str(tmp_path / 'features'))
    files = ItemFiles(tmp_path, PICTURES)
    x, has = cache.encode_pictures(encoder, files, names, 256, False)
    assert has.all() and (x[:, 0] > 200).all()
    assert encoder.sizes == [(256, 192)] * 80
    assert max(encoder.memory) - encoder.memory[0] < 300_000_000
