import json
import os
import random
import tempfile
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.formats.split_files import read_split, split_state
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits

Rows = list[tuple[str, str, int]]  # The user, item and label of interactions.
ROWS = [
    ('ann', 'cup', 0),
    ('bob', 'pot', 2),
    ('ann', 'pot', 1),
    ('bob', 'mug', 0),
]
LABELS = ('train', 'validation', 'test')


def numbers(rows: Rows, column: int) -> dict[str, int]:
    """Number users or items, in an order that is not that of their ids."""
    ids = sorted({row[column] for row in rows}, reverse=True)
    return {name: number for number, name in enumerate(ids)}


def write_mmrec(folder: Path, rows: Rows = ROWS) -> Path:
    folder.mkdir(parents=True)
    users, items = numbers(rows, 0), numbers(rows, 1)
    (folder / 'u_id_mapping.csv').write_text(
        'user_id\tuserID\n'
        + ''.join(f'{name}\t{number}\n' for name, number in users.items())
    )
    (folder / 'i_id_mapping.csv').write_text(
        'asin\titemID\n'
        + ''.join(f'{name}\t{number}\n' for name, number in items.items())
    )
    (folder / 'shop.inter').write_text(
        'userID\titemID\trating\tx_label\n'
        + ''.join(f'{users[u]}\t{items[i]}\t5.0\t{x}\n' for u, i, x in rows)
    )
    return folder


def write_lattice(folder: Path, rows: Rows = ROWS) -> Path:
    folder.mkdir(parents=True)
    users, items = numbers(rows, 0), numbers(rows, 1)
    for file, ids in (('user_list', users), ('item_list', items)):
        (folder / f'{file}.txt').write_text(
            ''.join(f'{name}\t{number}\n' for name, number in ids.items())
        )
    for label, file in enumerate(('train', 'val', 'test')):
        lists = {number: [] for number in users.values()}
        for user, item, other in rows:
            if other == label:
                lists[users[user]].append(items[item])
        (folder / f'{file}.json').write_text(json.dumps(lists))
    return folder


def write_table(path: Path, rows: Rows = ROWS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=['user', 'item', 'split'])
    table['split'] = table['split'].map(LABELS.__getitem__)
    if path.suffix == '.parquet':
        table.to_parquet(path)
    else:
        separator = '\t' if path.suffix == '.tsv' else ','
        table.to_csv(path, sep=separator, index=False)
    return path


FORMATS = {
    'mmrec': lambda folder, rows=ROWS: write_mmrec(folder / 'a', rows),
    'lattice': lambda folder, rows=ROWS: write_lattice(folder / '5-core', rows),
    'csv': lambda folder, rows=ROWS: write_table(folder / 'a.csv', rows),
    'tsv': lambda folder, rows=ROWS: write_table(folder / 'a.tsv', rows),
}
every_format = pytest.mark.parametrize('write', FORMATS.values(), ids=FORMATS)


def interactions_of(rows: Rows) -> Interactions:
    return Interactions.from_ids(
        [user for user, _, _ in rows], [item for _, item, _ in rows]
    )


# Formats #####################################################################


@st.composite
def published(draw):
    name = st.text('abAB01 é-"\',', min_size=1, max_size=3)
    pairs = draw(
        st.lists(st.tuples(name, name), min_size=1, max_size=15, unique=True)
    )
    return [(*pair, draw(st.integers(0, 2))) for pair in pairs]


@every_format
@settings(max_examples=25, deadline=None)
@given(rows=published(), seed=st.integers(0, 9))
def test_read_split(write, rows, seed):
    with tempfile.TemporaryDirectory() as root:
        path = write(Path(root), rows)
        random.Random(seed).shuffle(rows)  # The data has an order of its own.
        label = read_split(str(path), interactions_of(rows))
    assert label.dtype == torch.long
    assert label.tolist() == [value for _, _, value in rows]


def test_read_split_from_parquet(tmp_path):
    pytest.importorskip('pyarrow', reason='Parquet files need pyarrow')
    path = write_table(tmp_path / 'split.parquet')
    assert read_split(path, interactions_of(ROWS)).tolist() == [0, 2, 1, 0]


def test_read_split_takes_columns_in_any_order(tmp_path):
    folder = write_mmrec(tmp_path / 'a')
    (folder / 'u_id_mapping.csv').write_text('userID\tuser_id\n1\tann\n0\tbob')
    (folder / 'shop.inter').write_text(
        'x_label\titemID\tuserID\n0\t2\t1\n2\t0\t0\n1\t0\t1\n0\t1\t0'
    )
    assert read_split(folder, interactions_of(ROWS)).tolist() == [0, 2, 1, 0]


@every_format
def test_read_split_takes_what_editors_write(tmp_path, write):
    path = write(tmp_path)
    for file in [path] if path.is_file() else path.iterdir():
        text = file.read_text().replace('\n', '\r\n')
        file.write_text(text, encoding='utf-8-sig', newline='')
    assert read_split(path, interactions_of(ROWS)).tolist() == [0, 2, 1, 0]


# Splits that do not match ####################################################


@every_format
def test_read_split_refuses_other_interactions(tmp_path, write):
    path = write(tmp_path)
    for others, user, item in [
        (ROWS[1:], 'ann', 'cup'),
        ([*ROWS[:3], ('bob', 'cup', 0)], 'bob', 'mug'),
        ([(f'{u}!', i, x) for u, i, x in ROWS], '', ''),
    ]:
        with pytest.raises(ValueError) as info:
            read_split(path, interactions_of(others))
        start = f"'{path}': the interaction of user '{user}"
        assert str(info.value).startswith(start)
        assert item in str(info.value)
        assert 'is not in the data; the split belongs to' in str(info.value)


@every_format
def test_read_split_refuses_missing_interactions(tmp_path, write):
    path = write(tmp_path)
    more = [*ROWS, ('cem', 'cup', 0), ('ann', 'mug', 0)]
    with pytest.raises(ValueError) as info:
        read_split(path, interactions_of(more))
    assert str(info.value) == (
        f"'{path}' lacks 2 interactions, such as that of user 'cem' and item "
        f"'cup'; the split belongs to other data, or to another core"
    )


@every_format
@pytest.mark.parametrize('label', [0, 2])
def test_read_split_refuses_interactions_that_are_there_twice(
    tmp_path, write, label
):
    path = write(tmp_path, [*ROWS, ('ann', 'cup', label)])
    with pytest.raises(ValueError) as info:
        read_split(path, interactions_of(ROWS))
    assert str(info.value).startswith(
        f"'{path}': the interaction of user 'ann' and item 'cup' is there twice"
    )


@every_format
def test_read_split_refuses_data_with_an_interaction_twice(tmp_path, write):
    path = write(tmp_path)
    with pytest.raises(ValueError, match='lacks 1 interactions, such as that'):
        read_split(path, interactions_of([*ROWS, ROWS[0]]))


def test_read_split_refuses_other_folders(tmp_path):
    folder = write_lattice(tmp_path / 'shop' / '5-core').parent
    with pytest.raises(FileNotFoundError) as info:
        read_split(folder, interactions_of(ROWS))
    assert str(info.value).startswith(f"'{folder}' holds neither '<name>.inter")
    assert "'user_list.txt' and 'item_list.txt'" in str(info.value)


def test_read_split_refuses_to_choose(tmp_path):
    folder = write_mmrec(tmp_path / 'a')
    (folder / 'other.inter').write_text('')
    with pytest.raises(ValueError) as info:
        read_split(folder, interactions_of(ROWS))
    assert str(info.value) == (
        f"'{folder}' holds other.inter and shop.inter; keep one of them"
    )


# Malformed files #############################################################


@pytest.mark.parametrize(
    ('file', 'text', 'expected'),
    [
        ('u_id_mapping.csv', '', "line 1: .*, with 'userID' among them"),
        ('u_id_mapping.csv', 'user_id,userID\nann,1\n', "line 1: .*'userID'"),
        ('u_id_mapping.csv', 'user\tuserID\nann\t1\n', "line 1: .*'user_id'"),
        ('i_id_mapping.csv', 'asin\tid\ncup\t2\n', "line 1: .*'itemID'"),
        ('i_id_mapping.csv', 'asin\titemID\ncup\t2\nmug\n', 'line 3: 1 of 2'),
        ('shop.inter', 'userID\titemID\n0\t0\n', "line 1: .*'x_label'"),
        ('shop.inter', 'userID\titemID\tx_label\n0\t0\n', 'line 2: 2 of 3'),
    ],
)
def test_read_split_refuses_malformed_folders_of_mmrec(
    tmp_path, file, text, expected
):
    folder = write_mmrec(tmp_path / 'a')
    (folder / file).write_text(text)
    with pytest.raises(ValueError, match=f"'{folder / file}', {expected}"):
        read_split(folder, interactions_of(ROWS))


@pytest.mark.parametrize(
    'row',
    [
        ('0', '2', ''),
        ('0', '2', '3'),
        ('0', '2', '01'),
        ('0', '2', '12'),
        ('0', '2', 'train'),
        ('0', '2', '0.0'),
        ('9', '2', '0'),
        ('0', '-1', '0'),
        ('bob', '2', '0'),
    ],
)
def test_read_split_refuses_values_of_mmrec(tmp_path, row):
    folder = write_mmrec(tmp_path / 'a')
    (folder / 'shop.inter').write_text(
        'userID\titemID\tx_label\n0\t0\t2\n' + '\t'.join(row)
    )
    with pytest.raises(ValueError) as info:
        read_split(folder, interactions_of(ROWS))
    user, item, label = row
    assert str(info.value).startswith(
        f"'{folder / 'shop.inter'}', line 3: user '{user}', item '{item}' and "
        f"x_label '{label}' need to be in "
    )


@pytest.mark.parametrize('file', ['u_id_mapping.csv', 'i_id_mapping.csv'])
def test_read_split_needs_the_ids_of_mmrec(tmp_path, file):
    folder = write_mmrec(tmp_path / 'a')
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        read_split(folder, interactions_of(ROWS))


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'JSONDecodeError'),
        ('{"0": [1', 'JSONDecodeError'),
        ('[[0, 1]]', 'AttributeError'),
        ('{"0": 1}', 'TypeError'),
        ('{"7": [1]}', "KeyError\\('7'\\)"),
        ('{"0": [7]}', "KeyError\\('7'\\)"),
        ('{"0": [1.0]}', "KeyError\\('1.0'\\)"),
        ('{"0": [true]}', "KeyError\\('True'\\)"),
        ('[' * 100_000, 'RecursionError'),
    ],
)
def test_read_split_refuses_malformed_splits_of_lattice(tmp_path, text, reason):
    folder = write_lattice(tmp_path / 'a')
    (folder / 'val.json').write_text(text)
    with pytest.raises(ValueError, match=reason) as info:
        read_split(folder, interactions_of(ROWS))
    assert str(info.value).startswith(f"'{folder / 'val.json'}' does not hold")


@pytest.mark.parametrize('file', ['user_list.txt', 'item_list.txt'])
@pytest.mark.parametrize('text', ['ann 1', '\t1', 'ann'])
def test_read_split_refuses_malformed_ids_of_lattice(tmp_path, file, text):
    folder = write_lattice(tmp_path / 'a')
    (folder / file).write_text(f'cem\t0\n{text}\n')
    with pytest.raises(ValueError) as info:
        read_split(folder, interactions_of(ROWS))
    assert str(info.value) == (
        f"'{folder / file}', line 2: expected an id, a tab and a number"
    )


@pytest.mark.parametrize(
    'file', ['user_list.txt', 'item_list.txt', 'val.json', 'test.json']
)
def test_read_split_needs_all_files_of_lattice(tmp_path, file):
    folder = write_lattice(tmp_path / 'a')
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        read_split(folder, interactions_of(ROWS))


def test_read_split_refuses_malformed_tables(tmp_path):
    path = tmp_path / 'split.csv'
    path.write_text('user,item,split\nann,cup,train\nann,pot,val\n')
    with pytest.raises(ValueError) as info:
        read_split(path, interactions_of(ROWS))
    assert str(info.value) == (
        f"'{path}', row 2 below the header: split is 'val', expected one of "
        f'train, validation, test'
    )
    path.write_text('user,item,label\nann,cup,train\n')
    with pytest.raises(ValueError, match=f"'{path}' has no column 'split'"):
        read_split(path, interactions_of(ROWS))


@every_format
def test_read_split_survives_wrong_bytes(tmp_path, write):
    path = write(tmp_path)
    for file in [path] if path.is_file() else path.iterdir():
        file.write_bytes(file.read_bytes().replace(b'ann', b'\xff'))
    with pytest.raises(ValueError, match=f"'{path}"):
        read_split(path, interactions_of(ROWS))


# The published split of Amazon Baby ##########################################


def test_read_split_finds_that_of_amazon_baby(shared):
    folder = shared / 'data' / 'baby'
    if not folder.is_dir():
        pytest.skip("needs the folder 'baby' in 'shared/data'")
    user_ids, item_ids = (
        pd.read_csv(folder / file, sep='\t', dtype=str).set_index(number)[name]
        for file, number, name in (
            ('u_id_mapping.csv', 'userID', 'user_id'),
            ('i_id_mapping.csv', 'itemID', 'asin'),
        )
    )
    # The interactions in another order, as if from the original reviews:
    table = pd.read_csv(folder / 'baby.inter', sep='\t', dtype=str)
    table = table.sample(frac=1, random_state=0)
    interactions = Interactions.from_ids(
        user_ids[table['userID']].tolist(), item_ids[table['itemID']].tolist()
    )
    assert len(interactions.users) == 19_445
    assert len(interactions.items) == 7_050

    label = read_split(folder, interactions)
    assert label.tolist() == table['x_label'].astype(int).tolist()
    assert torch.bincount(label).tolist() == [118_551, 20_559, 21_682]


def test_split_state(tmp_path):
    """It changes with the files of a split, not with what lies beneath."""
    folder = tmp_path / 'shop'
    folder.mkdir()
    table = folder / 'shop.inter'
    table.write_text('a')
    before = split_state(folder)
    assert before == split_state(folder)
    assert split_state(table) == before
    (folder / 'processed').mkdir()
    (folder / 'processed' / 'data.pt').write_text('b')
    assert split_state(folder) == before
    table.write_text('ab')
    assert split_state(folder) != before


def test_numbers_that_name_two(tmp_path):
    folder = write_mmrec(tmp_path / 'mmrec')
    path = folder / 'i_id_mapping.csv'
    number = path.read_text().splitlines()[1].split('\t')[1]
    with path.open('a') as file:
        file.write(f'another\t{number}\n')
    with pytest.raises(
        ValueError, match=r"i_id_mapping.csv', line \d: the numb"
    ):
        read_split(folder, interactions_of(ROWS))
    folder = write_lattice(tmp_path / 'lattice')
    with (folder / 'user_list.txt').open('a') as file:
        file.write('another\t0\n')
    with pytest.raises(
        ValueError, match=r"user_list.txt', line \d: the number"
    ):
        read_split(folder, interactions_of(ROWS))


def test_a_column_that_is_there_twice(tmp_path):
    folder = write_mmrec(tmp_path / 'a')
    path = folder / 'u_id_mapping.csv'
    path.write_text(path.read_text().replace('user_id', 'userID\tuser_id', 1))
    with pytest.raises(ValueError, match=r"line 1: .*'userID' once among them"):
        read_split(folder, interactions_of(ROWS))


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('{"0": "12"}', "'12' is no list"),
        ('{"0": {"1": 2}}', 'is no list'),
        ('{"0": [1], "0": [2]}', "key '0' is there twice"),
        ('{"0": ' + '[' * 100_000, 'Recursion'),
        ('{"0": [' + '9' * 5000 + ']}', 'digits'),
        ('{"0": [NaN]}', 'KeyError'),
    ],
)
def test_lists_that_are_hostile(tmp_path, text, expected):
    folder = write_lattice(tmp_path / 'a')
    (folder / 'val.json').write_text(text)
    with pytest.raises(ValueError, match=f'val.json.*{expected}'):
        read_split(folder, interactions_of(ROWS))


def test_limits_of_splits(tmp_path):
    folder = write_mmrec(tmp_path / 'a')
    with (folder / 'u_id_mapping.csv').open('a') as file:
        file.write('x' * 1000)
    expected = r"u_id_mapping.csv', line \d has .*limits=Limits\(line=100\)"
    with pytest.raises(ValueError, match=expected):
        read_split(folder, interactions_of(ROWS), Limits(line=100))


@pytest.mark.parametrize('name', ['u_id_mapping.csv', 'i_id_mapping.csv'])
def test_pipes_are_no_splits(tmp_path, name):
    folder = write_mmrec(tmp_path / 'a')
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ValueError, match=f"{name}' is no regular file"):
        read_split(folder, interactions_of(ROWS))


def test_limits_of_lists(tmp_path):
    folder = write_lattice(tmp_path / 'a')
    with pytest.raises(ValueError, match=r"json' has .* more than 4; .*file=4"):
        read_split(folder, interactions_of(ROWS), Limits(file=4))


def test_limits_of_splits_of_recbole(tmp_path):
    folder = tmp_path / 'shop'
    folder.mkdir()
    for name in ('train', 'valid', 'test'):
        path = folder / f'shop.{name}.inter'
        path.write_text(f'user_id:token\titem_id:token\nann\t{"x" * 99}\n')
    with pytest.raises(ValueError, match=r'more than 50 bytes in line 2'):
        read_split(folder, interactions_of(ROWS), Limits(line=50))
