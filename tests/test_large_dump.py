import gzip
import json
import sys
from collections import Counter

import pytest

from pyg_ckd.graph import RATES


@pytest.fixture(scope='module')
def large_dump(load_benchmark):
    return load_benchmark('large_dump')


@pytest.fixture(scope='module')
def root(large_dump, tmp_path_factory):
    root = tmp_path_factory.mktemp('dump')
    large_dump.write_dump(root, large_dump.Size(200, 60, 1_800, 30))
    return root


def splits(root):
    folder = root / 'AmazonReviews2023' / 'benchmark' / '5core' / 'last_out'
    for name in ('train', 'valid', 'test'):
        with gzip.open(folder / f'Electronics.{name}.csv.gz', 'rt') as file:
            header, *lines = file.read().splitlines()
        assert header == 'user_id,parent_asin,rating,timestamp'
        yield [line.split(',') for line in lines]


def test_interactions_are_a_5_core_without_their_last(root):
    train, val, test = splits(root)
    rows = [*train, *val, *test]
    assert len({(user, item) for user, item, *_ in rows}) == 1_800
    users = Counter(user for user, *_ in rows)
    items = Counter(item for _, item, *_ in rows)
    assert (len(users), len(items)) == (200, 60)
    assert min(*users.values(), *items.values()) >= 5
    assert max(items.values()) > 3 * 1_800 / 60  # a few have many

    time = {user: int(time) for user, _, _, time in val}
    assert len(val) == len(test) == len(time) == 200
    assert all(int(t) <= time[user] for user, _, _, t in train)
    assert all(int(t) >= time[user] for user, _, _, t in test)


def test_half_of_the_metadata_is_of_other_items(root):
    folder = root / 'AmazonReviews2023' / 'raw' / 'meta_categories'
    with gzip.open(folder / 'meta_Electronics.jsonl.gz', 'rt') as file:
        products = [json.loads(line) for line in file]
    items = {item for part in splits(root) for _, item, *_ in part}
    found = {product['parent_asin'] for product in products}
    assert (len(products), len(found), len(found & items)) == (60, 60, 30)


def test_dumps_are_the_same_each_time(large_dump, root, tmp_path):
    large_dump.write_dump(tmp_path, large_dump.Size(200, 60, 1_800, 30))
    assert [*splits(tmp_path)] == [*splits(root)]


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_stages_of_a_dump(large_dump, root, capsys):
    for phase in large_dump.PHASES:
        large_dump.measure(root, phase)
        rows = [
            line.split('\t') for line in capsys.readouterr().out.split('\n')
        ]
        stages = [row[0] for row in rows[:-1]]
        assert (stages[0], stages[-1]) == ('start of the process', 'all')
        assert ('encoding' in stages) == (phase == 'build')
        assert ('nearest neighbours' in stages) == (phase == 'neighbours')
        assert all(0.1 < float(row[3]) < 50 for row in rows[:-1])

    stages = large_dump.Stages('none')
    data = large_dump.opened(root, stages)
    assert (data['user'].num_nodes, data['item'].num_nodes) == (200, 60)
    assert data['item'].has_text.sum() == 30
    assert data[RATES].edge_index.size(1) == 1_400
