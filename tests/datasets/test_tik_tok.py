import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.tik_tok import TikTok
from pyg_ckd.graph import check, modalities


def put(folder: Path, num_users: int, num_items: int) -> None:
    folder.mkdir()
    last = num_users - 1
    for name, lists in (
        ('train', {0: [1, 2], last: [num_items - 1, 0]}),
        ('val', {0: [3]}),
        ('test', {last: [1]}),
    ):
        (folder / f'{name}.json').write_text(json.dumps(lists))
    for modality, width in (('image', 3), ('audio', 2), ('text', 4)):
        x = np.ones((num_items, width), np.float32)
        np.save(folder / f'{modality}_feat.npy', x)


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path('exploded'),)


def test_tik_tok(tmp_path, monkeypatch, recwarn):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / 'tiktok', 9_319, 6_710)
    (tmp_path / 'tiktok' / 'train_mat').write_bytes(pickle.dumps(Bomb()))
    data = TikTok(tmp_path, limits=Limits(ids=10_000))[0]
    check(data, splits=('val', 'test'))
    assert modalities(data) == ['audio', 'image', 'text']
    assert (data['user'].num_nodes, data['item'].num_nodes) == (9319, 6710)
    assert not Path('exploded').exists()
    assert not [w for w in recwarn if 'published data' in str(w.message)]


def test_tik_tok_warns_of_another_version(tmp_path):
    put(tmp_path / 'tiktok', 90, 60)
    with pytest.warns(UserWarning, match='90 users and 60 items, the publish'):
        TikTok(tmp_path)


def test_tik_tok_needs_three_modalities(tmp_path):
    put(tmp_path / 'tiktok', 90, 60)
    (tmp_path / 'tiktok' / 'audio_feat.npy').unlink()
    (tmp_path / 'tiktok' / 'val.json').unlink()
    with pytest.raises(FileNotFoundError) as info:
        TikTok(tmp_path)
    assert "lacks 'val.json', 'audio_feat.npy'; download" in str(info.value)
    assert 'pickles, which may run any code' in str(info.value)
