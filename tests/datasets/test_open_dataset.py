import gzip
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets import FakeMultimodal, MMRecFolder, to_lattice, to_mmrec
from pyg_ckd.datasets._open_dataset import open_dataset
from pyg_ckd.datasets.amazon_multimodal import AmazonMultimodal
from pyg_ckd.datasets.lattice_folder import LATTICEFolder
from pyg_ckd.datasets.raw.renumbered import restored
from pyg_ckd.graph import RATES

DATA = FakeMultimodal(num_users=30, num_items=15)[0]


def edges(data: HeteroData) -> Tensor:
    """Return the training interactions by the numbers of the files."""
    user, item = data[RATES].edge_index
    numbers = data['user'].original_id[user], data['item'].original_id[item]
    return torch.stack(numbers)


def add_splits(folder: Path, core: int) -> None:
    """Give a folder of LATTICE the splits of one more core, or broken ones."""
    splits = folder / f'{core}-core'
    splits.mkdir(parents=True)
    for name in ('train', 'val', 'test'):
        (splits / f'{name}.json').write_text(f'not\nJSON of core {core}')


def test_open_dataset_opens_mmrec(tmp_path):
    to_mmrec(DATA, tmp_path / 'fake')
    dataset = open_dataset(tmp_path, 'fake')
    assert type(dataset) is MMRecFolder
    assert edges(dataset[0]).equal(DATA[RATES].edge_index)


@pytest.mark.parametrize('core', [0, 5, 10])
def test_open_dataset_opens_lattice(tmp_path, core):
    to_lattice(DATA, tmp_path / 'fake', core)
    dataset = open_dataset(str(tmp_path), 'fake')
    assert type(dataset) is LATTICEFolder
    assert dataset.core == core
    assert edges(dataset[0]).equal(DATA[RATES].edge_index)


def test_open_dataset_prefers_mmrec(tmp_path):
    to_mmrec(DATA, tmp_path / 'fake')
    add_splits(tmp_path / 'fake', core=5)
    assert type(open_dataset(tmp_path, 'fake')) is MMRecFolder


def test_open_dataset_prefers_lattice_if_a_core_is_given(tmp_path):
    (tmp_path / 'fake').mkdir()
    to_lattice(DATA, tmp_path / 'lattice', core=10)
    (tmp_path / 'lattice' / '10-core').rename(tmp_path / 'fake' / '10-core')
    (tmp_path / 'fake' / 'fake.inter').write_text('That of MMRec, not read.')
    dataset = open_dataset(tmp_path, 'fake', core=10)
    assert type(dataset) is LATTICEFolder
    assert dataset.core == 10


@pytest.mark.parametrize('name', ['fake', 'Baby', 'missing'])
def test_open_dataset_has_no_cores_but_those_of_lattice(tmp_path, name):
    to_mmrec(DATA, tmp_path / 'fake')
    with pytest.raises(FileNotFoundError) as info:
        open_dataset(tmp_path, name, core=7)
    assert f"'{tmp_path / name}' needs to hold the splits '7-core" in str(
        info.value
    )


def test_open_dataset_asks_for_a_core(tmp_path):
    to_lattice(DATA, tmp_path / 'fake', core=10)
    add_splits(tmp_path / 'fake', core=0)
    (tmp_path / 'fake' / 'x-core').mkdir()
    with pytest.raises(ValueError) as info:
        open_dataset(tmp_path, 'fake')
    assert str(info.value) == (
        f"'{tmp_path / 'fake'}' holds the splits of several cores; pass one of "
        f"them as 'core' (0, 10)"
    )
    assert open_dataset(tmp_path, 'fake', core=10).core == 10
    with pytest.raises(ValueError, match='0-core'):
        open_dataset(tmp_path, 'fake', core=0)


@pytest.mark.parametrize('export', [to_mmrec, to_lattice])
def test_open_dataset_passes_arguments_on(tmp_path, export):
    export(DATA, tmp_path / 'raw' / 'fake')
    dataset = open_dataset(
        tmp_path / 'raw',
        'fake',
        transform=lambda data: restored(data)['item'].x_text,
        processed_root=tmp_path / 'out',
    )
    assert dataset[0].equal(DATA['item'].x_text)
    assert Path(dataset.processed_dir).is_relative_to(tmp_path / 'out')
    assert not (tmp_path / 'raw' / 'fake' / 'processed').exists()


def test_open_dataset_opens_amazon(tmp_path):
    file = '[files.{0}]\nname = "{0}.gz"\nurls = ["http://localhost/{0}.gz"]\n'
    recipe = tmp_path / 'mine.toml'
    recipe.write_text(
        ''.join(file.format(key) for key in ('reviews', 'metadata', 'image'))
    )
    raw = tmp_path / 'Baby' / 'raw'
    raw.mkdir(parents=True)
    with gzip.open(raw / 'reviews.gz', 'wt') as out:
        for time in range(12):
            review = {
                'reviewerID': f'user {time % 3}',
                'asin': f'item {time}',
                'overall': 5.0,
                'unixReviewTime': time,
            }
            out.write(json.dumps(review) + '\n')
    dataset = open_dataset(
        tmp_path, 'Baby', modalities=(), split='leave_one_out', recipe=recipe
    )
    assert type(dataset) is AmazonMultimodal
    rates = dataset[0][RATES]
    assert rates.edge_index.size(1) == 6
    assert rates.test_edge_label_index.size(1) == 3


def test_open_dataset_refuses_unknown_names(tmp_path):
    (tmp_path / 'babi').mkdir()
    (tmp_path / 'babi' / 'baby.inter').write_text('The name of another folder.')
    with pytest.raises(FileNotFoundError) as info:
        open_dataset(tmp_path, 'babi')
    for part in [
        f"'{tmp_path / 'babi'}' holds neither 'babi.inter' (the format of",
        "nor 'inter.csv' (that of MRLib)",
        "'<core>-core/train.json' or 'train.json' (that of LATTICE)",
        "'babi' is no category of Amazon",
        ', Baby, Beauty, ',
        'put the data there, or choose another name',
    ]:
        assert part in str(info.value)


def test_open_dataset_opens_amazon_baby(tmp_path, shared):
    root = shared / 'data'
    if not (root / 'baby').is_dir():
        pytest.skip("needs the folder 'baby' in 'shared/data'")
    data = open_dataset(root, 'baby', processed_root=tmp_path)[0]
    assert data['user'].num_nodes == 19_445
    assert data['item'].x_text.dtype == torch.float32


@pytest.mark.parametrize('release', ['AmazonReviews2023', 'Amazon2018'])
def test_open_dataset_knows_releases_of_amazon(tmp_path, release):
    for root, name in (
        (tmp_path, f'{release}/Toys'),
        (tmp_path / release, 'Toys'),
    ):
        with pytest.raises(ValueError, match="'Toys' is not a category"):
            open_dataset(root, name)
