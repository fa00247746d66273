import os
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_ckd.datasets import FakeMultimodal, from_interactions, to_mmrec
from pyg_ckd.datasets._open_dataset import open_dataset
from pyg_ckd.datasets.formats.recbole import (
    column_types,
    float_rows,
    is_recbole,
    read_recbole,
    to_recbole,
)
from pyg_ckd.datasets.mmrec_folder import MMRecFolder
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.recbole_folder import RecBoleFolder
from pyg_ckd.datasets.splits import PublishedSplit
from pyg_ckd.graph import RATES, check, modalities

INTER = """user_id:token\titem_id:token\trating:float\ttimestamp:float
u1\t007\t5\t10
u1\t7\t3.5\t20
u1\tx y\t1\t30
2\t7\t2\t5.5
2\t007\t2\t4
2\tx y\t2\t6
"""
ITEMS = """item_id:token\ttitle:token_seq\tyear:token\timage:float_seq\tp:float
7\tToy Story\t1995\t1 2.5\t3
007\t\t1995\t\t4
x y\t"A ""red"" cup"\t1996\t-1e-3 4\t5
extra\tNobody\t\t0 0\t1
"""


class Hashes:
    def __call__(self, texts: list[str]) -> Tensor:
        return torch.tensor([[zlib.crc32(t.encode()) % 997.0] for t in texts])

    def __repr__(self) -> str:
        return 'Hashes()'


def put(root: Path, **files: str) -> Path:
    folder = root / 'tiny'
    folder.mkdir(exist_ok=True)
    for ending, text in files.items():
        name = f'tiny.{ending.replace("_", ".")}'
        (folder / name).write_text(text, encoding='utf-8')
    return folder


def opened(root: Path, **kwargs) -> RecBoleFolder:
    options = {'text_encoder': Hashes(), 'split': 'leave_one_out'}
    return RecBoleFolder(root, 'tiny', **{**options, **kwargs})


def error_of(root: Path, **kwargs) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as info:
        opened(root, **kwargs)
    return str(info.value)


def test_recbole_folder(tmp_path):
    put(tmp_path, inter=INTER, item=ITEMS)
    dataset = opened(tmp_path, title_column='title')
    data = dataset[0]
    check(data, splits=('val', 'test'))
    assert (dataset.users, dataset.items) == (['2', 'u1'], ['007', '7', 'x y'])
    assert modalities(data) == ['image', 'text']
    assert data['item'].title == ['007', 'Toy Story', 'A "red" cup']
    assert data['item'].has_text.tolist() == [False, True, True]
    assert data['item'].x_text[1:].equal(Hashes()(['Toy Story', 'A "red" cup']))
    assert data['item'].has_image.tolist() == [False, True, True]
    assert (
        data['item']
        .x_image[1:]
        .allclose(torch.tensor([[1.0, 2.5], [-1e-3, 4.0]]))
    )
    rates = data[RATES]
    assert rates.edge_index.tolist() == [[1, 0], [0, 0]]
    assert rates.rating.tolist() == [5, 2]
    assert rates.time.tolist() == [10, 4]


def test_recbole_folder_takes_a_template(tmp_path):
    put(tmp_path, inter=INTER, item=ITEMS)
    dataset = opened(tmp_path, template='{title} of {year}')
    item = dataset[0]['item']
    assert item.x_text.equal(
        Hashes()(['of 1995', 'Toy Story of 1995', 'A "red" cup of 1996'])
    )


def test_recbole_folder_without_texts(tmp_path):
    put(tmp_path, inter=INTER, item=ITEMS)
    data = opened(tmp_path, text_encoder=None)[0]
    assert modalities(data) == ['image']


def test_recbole_folder_of_interactions_only(tmp_path):
    inter = 'who:token\twhat:token\n' + ''.join(
        f'{u}\t{i}\n' for u in range(4) for i in range(5)
    )
    put(tmp_path, inter=inter)
    dataset = RecBoleFolder(
        tmp_path, 'tiny', user_column='who', item_column='what'
    )
    data = dataset[0]
    check(data, splits=('val', 'test'))
    assert data.split == 'RandomSplit(share=0.1, seed=0)'
    assert modalities(data) == []
    assert set(data[RATES].keys()) == {
        'edge_index',
        'val_edge_label_index',
        'test_edge_label_index',
    }


def test_recbole_folder_has_a_core(tmp_path):
    put(tmp_path, inter=INTER + 'late\t7\t1\t1\n')
    with pytest.warns(UserWarning, match='k_core=2 leaves out 1 of 3 users'):
        assert opened(tmp_path, k_core=2).users == ['2', 'u1']


def test_recbole_folder_reads_a_split(tmp_path):
    head, *rows = INTER.splitlines(keepends=True)
    put(
        tmp_path,
        train_inter=head + rows[1] + rows[4] + rows[5],
        valid_inter=head + rows[0] + rows[3],
        test_inter=head + rows[2],
    )
    dataset = RecBoleFolder(tmp_path, 'tiny')
    assert 'PublishedSplit' in dataset[0].split
    rates = dataset[0][RATES]
    assert rates.edge_index.tolist() == [[1, 0, 0], [1, 0, 2]]
    assert rates.val_edge_label_index.tolist() == [[1, 0], [0, 1]]
    assert rates.test_edge_label_index.tolist() == [[1], [2]]
    assert type(open_dataset(tmp_path, 'tiny')) is RecBoleFolder
    # Another rule may split them anew:
    other = opened(tmp_path)[0][RATES]
    assert other.test_edge_label_index.tolist() == [[0, 1], [2, 2]]


def test_recbole_folder_needs_all_of_a_split(tmp_path):
    head = INTER.partition('\n')[0]
    put(tmp_path, train_inter=head, test_inter=head)
    assert "there is no 'tiny.valid.inter'; add it" in error_of(tmp_path)


def test_recbole_split_is_a_published_split(tmp_path):
    data = FakeMultimodal(num_users=30, num_items=15)[0]
    to_recbole(data, tmp_path / 'fake')
    rates = data[RATES]
    keys = ('edge_index', 'val_edge_label_index', 'test_edge_label_index')
    user, item = torch.cat([rates[key] for key in keys], dim=1).tolist()
    found = from_interactions(
        list(map(str, user)),
        list(map(str, item)),
        split=PublishedSplit(tmp_path / 'fake'),
    )
    for key in keys:
        u, i = found[RATES][key]
        names = found['user'].name, found['item'].name
        assert [
            (int(names[0][a]), int(names[1][b]))
            for a, b in zip(u, i, strict=True)
        ] == [tuple(pair) for pair in rates[key].t().tolist()]


def test_recbole_and_mmrec_are_told_apart(tmp_path):
    put(tmp_path, inter=INTER, item=ITEMS)
    found = open_dataset(
        tmp_path, 'tiny', split='leave_one_out', text_encoder=None
    )
    assert type(found) is RecBoleFolder
    data = FakeMultimodal(num_users=30, num_items=15)[0]
    to_mmrec(data, tmp_path / 'mmrec')
    assert type(open_dataset(tmp_path, 'mmrec')) is MMRecFolder


def test_to_recbole_is_read_back(tmp_path):
    data = FakeMultimodal(num_users=40, num_items=20)[0]
    data['user'].name = [f'user {i:02}' for i in range(40)]
    data['item'].name = [f'item "{i:02}"' for i in range(20)]
    data['item'].title = [f'A\ttitle of {i}' for i in range(20)]
    data['item'].has_text = torch.arange(20) != 3
    to_recbole(data, tmp_path / 'tiny')
    dataset = RecBoleFolder(
        tmp_path, 'tiny', title_column='title', text_encoder=None
    )
    found = dataset[0]
    assert found['item'].title == [
        title
        for i, title in enumerate(data['item'].title)
        if data['item'].name[i] in found['item'].name
    ]
    for key in ('edge_index', 'val_edge_label_index', 'test_edge_label_index'):
        named = [
            (found['user'].name[u], found['item'].name[i])
            for u, i in found[RATES][key].t().tolist()
        ]
        assert named == [
            (data['user'].name[u], data['item'].name[i])
            for u, i in data[RATES][key].t().tolist()
        ]
    for i, name in enumerate(found['item'].name):
        row = data['item'].name.index(name)
        assert found['item'].x_image[i].equal(data['item'].x_image[row])
        assert bool(found['item'].has_text[i]) == (row != 3)
    assert set(modalities(found)) == set(modalities(data))


def test_to_recbole_keeps_ratings_times_and_original_numbers(tmp_path):
    data = from_interactions(
        ['a', 'a', 'b', 'a'],
        ['x', 'y', 'x', 'z'],
        rating=[1.5, 2, 3, 4],
        time=[5, 6, 7, 8],
        split=['train', 'val', 'train', 'test'],
    )
    del data['user'].name
    data['user'].original_id = torch.tensor([7, 5])
    to_recbole(data, tmp_path / 'tiny')
    text = (tmp_path / 'tiny' / 'tiny.train.inter').read_text()
    assert text == (
        'user_id:token\titem_id:token\trating:float\ttimestamp:float\n'
        '7\tx\t1.5\t5\n5\tx\t3.0\t7\n'
    )


@pytest.mark.parametrize(
    ('files', 'expected'),
    [
        ({}, "needs to hold the interactions 'tiny.inter'"),
        (
            {'inter': 'user_id\titem_id:token\n'},
            "tiny.inter', line 1: expected columns with types",
        ),
        (
            {'inter': 'user_id:text\titem_id:token\n'},
            "(got 'user_id:text')",
        ),
        (
            {'inter': 'user_id:token\titem_id:token\titem_id:float\n'},
            "there are two columns 'item_id'",
        ),
        ({'inter': 'user:token\titem_id:token\n'}, "no column 'user_id' (it"),
        ({'inter': INTER + 'u1\t7\t1\t1\n'}, 'row 7 below the header: item_id'),
        ({'inter': INTER + 'u1\t\t1\t1\n'}, "item_id is '', expected an id"),
        ({'inter': INTER + 'u1\tz\tbad\t1\n'}, "rating is 'bad'"),
        ({'item': ITEMS + '7\tTwice\t\t0 0\t\n'}, "item_id is '7', expected"),
        ({'item': ITEMS + 'z\tT\t\t0 a\t\n'}, "image is '0 a', expected fin"),
        ({'item': ITEMS + 'z\tT\t\t0 inf\t\n'}, "image is '0 inf'"),
        (
            {'item': ITEMS + 'z\tT\t\t0 1 2\t\n'},
            'row 5 below the header: image has 3 numbers, but 2 in row 1',
        ),
        (
            {'item': 'item_id:token\ttext:float_seq\tt:token_seq\n7\t1\tT\n'},
            "'text', which is that of texts; pass text_encoder=None",
        ),
        ({'item': 'item_id:token\ta b:float_seq\n7\t1\n'}, 'an identifier'),
    ],
)
def test_recbole_folder_refuses_files(tmp_path, files, expected):
    put(tmp_path, **({'inter': INTER, 'item': ITEMS, **files} if files else {}))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Of items without a row.
        assert expected in error_of(tmp_path)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'k_core': 0}, "'k_core' needs to be a whole number, at least 1"),
        ({'template': 'x'}, 'A template needs fields'),
        ({'template': '{brand}'}, "no column 'brand'"),
        ({'title_column': 'brand'}, "no column 'brand'"),
        ({'rating_column': 'stars'}, "names the column 'stars', but there are"),
        ({'split': 'never'}, "(got 'never')"),
    ],
)
def test_recbole_folder_refuses_arguments(tmp_path, options, expected):
    put(tmp_path, inter=INTER, item=ITEMS)
    assert expected in error_of(tmp_path, **options)


def test_recbole_folder_needs_items_for_a_template(tmp_path):
    put(tmp_path, inter=INTER)
    assert "'template' needs" in error_of(tmp_path, template='{title}')


def test_recbole_folder_skips_repeats(tmp_path):
    put(tmp_path, inter=INTER + 'u1\t7\t1\t1\n', item=ITEMS)
    with pytest.warns(UserWarning, match='1 repeats a user and item'):
        dataset = opened(tmp_path, skip_invalid=True)
    # The earliest counts:
    assert dataset[0][RATES].rating.tolist() == [2, 1]


def test_recbole_folder_warns_of_items_without_row(tmp_path):
    put(tmp_path, inter=INTER, item=ITEMS.replace('\nx y', '\nX Y'))
    with pytest.warns(UserWarning, match='1 of 3 sold items has no row'):
        data = opened(tmp_path)[0]
    assert data['item'].has_image.tolist() == [False, True, False]


TEXT = st.text(
    st.characters(exclude_categories=['Cs', 'Cc']), min_size=1, max_size=12
)
ROWS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8)
CHECKS = [HealthCheck.function_scoped_fixture]


@settings(max_examples=60, deadline=None, suppress_health_check=CHECKS)
@given(ROWS)
def test_read_recbole_reads_what_is_written(tmp_path, rows):
    path = tmp_path / 'a.item'
    quoted = [
        '\t'.join('"' + field.replace('"', '""') + '"' for field in row)
        for row in rows
    ]
    path.write_text(
        'item_id:token\ttitle:token_seq\n' + '\n'.join(quoted) + '\n',
        encoding='utf-8',
        newline='\n',
    )
    table = read_recbole(path, ['title', 'item_id'])
    assert list(table.itertuples(index=False, name=None)) == [
        (title, item) for item, title in rows
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=CHECKS)
@given(st.binary(max_size=60))
def test_column_types_refuses_anything_else(tmp_path, content):
    path = tmp_path / 'a.inter'
    path.write_bytes(content)
    try:
        types = column_types(path)
    except ValueError as error:
        assert 'a.inter' in str(error)
    else:
        assert types and all(types)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3),
        ),
        min_size=1,
    )
)
def test_float_rows_reads_what_is_written(rows):
    column = pd.Series(
        ['' if row is None else ' '.join(map(repr, row)) for row in rows],
        dtype=str,
    )
    x, has = float_rows(column, 'a.item', 'emb')
    assert has.tolist() == [row is not None for row in rows]
    known = [row for row in rows if row is not None]
    assert x[has].tolist() == np.array(known, np.float32).tolist()
    assert not x[~has].any()


def test_recbole_folder_joins_texts_whatever_their_columns_are_called(tmp_path):
    items = ITEMS.replace('title:token_seq', '{tit!le}:token_seq')
    put(tmp_path, inter=INTER, item=items)
    item = opened(tmp_path)[0]['item']
    assert item.x_text[1:].equal(Hashes()(['Toy Story', 'A "red" cup']))


def test_recbole_folder_without_items_in_their_file(tmp_path):
    put(tmp_path, inter=INTER, item=ITEMS.splitlines()[0] + '\n')
    error = error_of(tmp_path)
    assert "tiny.item' has no items; add a row for one" in error


def test_recbole_folder_with_commas(tmp_path):
    put(tmp_path, inter=INTER.replace('\t', ','))
    assert 'expected columns with types, separated by tabs' in error_of(
        tmp_path
    )


@pytest.mark.parametrize('name', ['name', 'original_id'])
def test_to_recbole_refuses_to_make_two_users_one(tmp_path, name):
    data = from_interactions([0, 0, 1, 1], [0, 1, 0, 1], split=[0, 1, 2, 0])
    same = ['ann', 'ann'] if name == 'name' else torch.tensor([3, 3])
    data['user'][name] = same
    called = 'ann' if name == 'name' else '3'
    with pytest.raises(
        ValueError, match=f"2 of the users are called '{called}"
    ):
        to_recbole(data, tmp_path / 'shop')
    assert not (tmp_path / 'shop').exists()


def test_headers_that_are_long(tmp_path):
    """Such as those of many columns: they are read to their end."""
    names = [f'{"x" * 100}{i}:float' for i in range(700)]
    rows = [
        f'u{user}\ti{item}' + '\t0' * 700
        for user in range(8)
        for item in range(5)
    ]
    header = '\t'.join(['user_id:token', 'item_id:token', *names])
    assert len(header) > 2**16
    folder = put(tmp_path, inter='\n'.join([header, *rows]))
    path = folder / 'tiny.inter'
    assert len(column_types(path)) == 702
    with pytest.raises(ValueError, match=r'line 1 has more .*Limits\(line=999'):
        column_types(path, Limits(line=999))
    error = error_of(tmp_path, k_core=1, limits=Limits(line=999))
    assert f"'{path}', line 1 has more than 999 bytes" in error
    data = opened(tmp_path, k_core=1, split='random')[0]
    assert data['item'].num_nodes == 5


def test_lines_that_are_too_long(tmp_path):
    path = put(tmp_path, inter=f'{INTER}u1\t{"7" * 100}\t1\t1\n') / 'tiny.inter'
    error = error_of(tmp_path, k_core=1, limits=Limits(line=99))
    assert f"'{path}' has more than 99 bytes in line 8" in error


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'a.inter')
    for read in (column_types, is_recbole, lambda p: read_recbole(p, ['x'])):
        with pytest.raises(ValueError, match=r"a\.inter' is no regular file"):
            read(tmp_path / 'a.inter')


def test_times_are_read_back_and_ratings_are_told(tmp_path):
    data = from_interactions(
        [*'aaabbb'],
        [*'xyzxyz'],
        rating=[5, 4, 3, 2, 1, 2],
        time=[*range(6)],
        split=[0, 1, 2] * 2,
    )
    to_recbole(data, tmp_path / 'shop')
    with pytest.warns(UserWarning, match="column 'rating' in some of"):
        found = RecBoleFolder(tmp_path, 'shop')[0]
    assert 'rating' not in found[RATES]
    for name in ('time', 'val_edge_label_time', 'test_edge_label_time'):
        assert sorted(found[RATES][name]) == sorted(data[RATES][name])
