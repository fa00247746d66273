"""Catalogues of other tables than one file of sales and one of items."""

import gzip
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from pyg_ckd.datasets import (
    ColdItemSplit,
    LeaveOneOut,
    PublishedSplit,
    RandomSplit,
    TimeSplit,
    audit,
    describe,
    renumbered,
    to_mmrec,
)
from pyg_ckd.datasets.catalogue import Catalogue
from pyg_ckd.datasets.interaction_table import InteractionTable
from pyg_ckd.datasets.item_table import ItemTable
from pyg_ckd.graph import RATES, check
from pyg_ckd.nn import VBPR, LightGCN
from pyg_ckd.ranking import evaluate
from pyg_ckd.serving import ColdItems, with_new_items
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.transforms import TrainOnAll

TITLES = {'cup': 'A red cup', 'jar': '', 'mug': 'A mug', 'pot': 'A pot'}
SALES = [(f'u{u}', item) for u in range(4) for item in TITLES]
LABELS = ('train', 'validation', 'test')


class Lengths:
    """Encodes a text by its number of letters and of words."""

    def __init__(self) -> None:
        self.num_encoded = 0

    def __call__(self, texts: list[str]) -> Tensor:
        self.num_encoded += len(texts)
        counts = [[len(text), len(text.split())] for text in texts]
        return torch.tensor(counts, dtype=torch.float)

    def __repr__(self) -> str:
        return 'Lengths()'


def sales(rows=SALES) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=['user', 'item'])


def items(titles=TITLES) -> pd.DataFrame:
    return pd.DataFrame({'item': titles.keys(), 'title': titles.values()})


def opened(root, interactions, table=None, **kwargs) -> Catalogue:
    options = {'k_core': 1, 'split': 'random', 'text_encoder': Lengths()}
    if isinstance(table, pd.DataFrame):
        table = ItemTable(table, text='{title}')
    return Catalogue(root / 'saved', interactions, table, **options | kwargs)


def pairs(dataset, index) -> list[tuple[str, str]]:
    return [
        (dataset.users[user], dataset.items[item])
        for user, item in index.t().tolist()
    ]


def splits(dataset) -> list[set[tuple[str, str]]]:
    rates = dataset[0][RATES]
    return [
        set(pairs(dataset, rates[name]))
        for name in (
            'edge_index',
            'val_edge_label_index',
            'test_edge_label_index',
        )
    ]


def results(root) -> int:
    """Return how many graphs there are on disk."""
    return len([*root.rglob('data.pt')])


def same(one: Catalogue, other: Catalogue) -> bool:
    first, second = one[0], other[0]
    return (
        one.users == other.users
        and one.items == other.items
        and first[RATES].edge_index.equal(second[RATES].edge_index)
        and first['item'].x_text.equal(second['item'].x_text)
    )


# Sources #####################################################################


@pytest.mark.parametrize('ending', ['csv', 'csv.gz', 'tsv.gz'])
@pytest.mark.parametrize('header', [True, False])
def test_files_are_what_frames_are(tmp_path, ending, header):
    expected = opened(tmp_path, sales(), items())
    paths = [tmp_path / f'{name}.{ending}' for name in ('sales', 'items')]
    for path, frame in zip(paths, (sales(), items()), strict=True):
        separator = '\t' if 'tsv' in ending else ','
        frame.to_csv(path, sep=separator, index=False, header=header)
    names = [None, None] if header else [['user', 'item'], ['item', 'title']]
    found = opened(
        tmp_path,
        InteractionTable(paths[0], names=names[0]),
        ItemTable(paths[1], text='{title}', names=names[1]),
    )
    assert same(found, expected)
    assert str(found) == f"Catalogue('{paths[0]}')"
    assert str(expected) == "Catalogue('DataFrame')"


@pytest.mark.parametrize('library', ['pandas', 'polars'])
def test_frames_are_known_by_their_content(tmp_path, library):
    frames = pytest.importorskip(library)
    encoder = Lengths()

    def found(rows=SALES, titles=TITLES, **more):
        columns = {
            name: [row[place] for row in rows]
            for place, name in enumerate(('user', 'item'))
        }
        table = {'item': [*titles], 'title': [*titles.values()], **more}
        dataset = opened(
            tmp_path,
            frames.DataFrame({**columns, **more.get('extra', {})}),
            ItemTable(frames.DataFrame(table), text='{title}'),
            text_encoder=encoder,
        )
        return dataset, results(tmp_path), encoder.num_encoded

    first, *state = found()
    assert state == [1, 3]
    again, *state = found()
    assert state == [1, 3]
    assert same(again, first)
    # What is not read does not count:
    assert found(price=[1, 2, 3, 4])[1] == 1
    # Another text is encoded, other sales are split anew:
    _, *state = found(titles={**TITLES, 'mug': 'Another mug'})
    assert state == [2, 4]
    _, *state = found(rows=SALES[:-1])
    assert state == [3, 4]
    # The order of rows decides which of two equal ones is the first:
    assert found(rows=SALES[::-1])[1] == 4


def test_both_libraries_have_the_same_content(tmp_path):
    pl = pytest.importorskip('polars')
    first = opened(tmp_path, sales(), items())
    other = opened(
        tmp_path,
        pl.DataFrame(SALES, schema=['user', 'item'], orient='row'),
        ItemTable(pl.DataFrame(items().to_dict('list')), text='{title}'),
    )
    assert results(tmp_path) == 1
    assert same(first, other)


def test_large_frames_are_known_by_all_of_their_content(tmp_path):
    """Their `repr` shows the first and the last rows alone."""
    rows = [(f'u{n}', f'i{n % 7}') for n in range(300)]
    opened(tmp_path, sales(rows))
    rows[150] = ('u150', 'i6')
    dataset = opened(tmp_path, sales(rows))
    assert results(tmp_path) == 2
    assert ('u150', 'i6') in set.union(*splits(dataset))


def test_columns_belong_to_a_result(tmp_path):
    frame = sales().assign(who=lambda x: x['user'].str.upper())
    opened(tmp_path, frame)
    assert opened(tmp_path, InteractionTable(frame, user='who')).users == [
        *('U0', 'U1', 'U2', 'U3')
    ]


def test_encode_new_reads_frames(tmp_path):
    table = ItemTable(items(), title='title', text='{title}')
    dataset = opened(tmp_path, sales(), table)
    new = dataset.encode_new(pd.DataFrame({'item': ['tea'], 'title': ['Tea']}))
    assert (new.name, new.title) == (['tea'], ['Tea'])
    assert new.features['text'].tolist() == [[3, 1]]
    path = tmp_path / 'new.csv.gz'
    path.write_bytes(gzip.compress(b'item,title\ntea,Tea\n'))
    assert dataset.encode_new(path).features['text'].tolist() == [[3, 1]]
    with pytest.raises(ValueError, match="'DataFrame', row 0: item is 'cup'"):
        dataset.encode_new(items())


def test_encode_new_without_header(tmp_path):
    path = tmp_path / 'items.csv'
    items().to_csv(path, index=False, header=False)
    table = ItemTable(path, text='{title}', names=['item', 'title'])
    dataset = opened(tmp_path, sales(), table)
    path = tmp_path / 'new.csv'
    path.write_text('tea,Tea\n')
    assert dataset.encode_new(path).features['text'].tolist() == [[3, 1]]
    frame = pd.DataFrame({'item': ['tea'], 'title': ['Tea']})
    assert dataset.encode_new(frame).features['text'].tolist() == [[3, 1]]


def test_old_arguments_are_gone(tmp_path):
    with pytest.raises(TypeError, match='user_column'):
        Catalogue(tmp_path, sales(), user_column='user')


def test_no_table_is_an_error(tmp_path):
    with pytest.raises(ValueError, match='needs at least one table'):
        Catalogue(tmp_path, {})


# Ids that match in part ######################################################


def test_ids_that_match_in_part(tmp_path):
    titles = {'cup': 'A cup', 'MUG': 'A mug', 'lid': 'A lid', 'tin': ''}
    with pytest.warns(UserWarning) as caught:
        opened(tmp_path, sales(), items(titles))
    assert [str(warning.message) for warning in caught] == [
        "3 of 4 sold items have no row in 'DataFrame', such as 'jar' and "
        "'mug', and 3 of its 4 items are none of these, such as 'MUG' and "
        "'lid'; 1 of them would be found in another letter case, such as "
        "'MUG': write ids in the same way in both tables"
    ]


def test_ids_that_do_not_match(tmp_path):
    with pytest.raises(ValueError, match=r'4 of 4 sold .*another letter case'):
        opened(tmp_path, sales(), items({'CUP': 'A cup'}))
    assert results(tmp_path) == 0


def test_files_whose_names_match_in_part(tmp_path):
    (tmp_path / 'sound').mkdir()
    for name in ('cup', 'POT', 'tea'):
        np.save(tmp_path / 'sound' / f'{name}.npy', np.ones(2, np.float32))
    expected = (
        "sound': 2 of 3 files belong to no item, such as 'POT.npy' and "
        "'tea.npy', and 3 of 4 items have none, such as 'jar' and 'mug'; a "
        'file is named after the id of its item; 1 of them would be found in '
        "another letter case, such as 'POT'"
    )
    for table in (None, items()):
        with pytest.warns(UserWarning, match=re.escape(expected)):
            opened(
                tmp_path,
                sales(),
                table,
                features={'sound': tmp_path / 'sound'},
                force_reload=True,
            )


# Several types ###############################################################

WEIGHTS = {'view': 0.25, 'cart': 1, 'buy': 2}


def events(num_users=12, num_items=8, seed=0) -> pd.DataFrame:
    """Return a log in which a user does each thing with some items."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for user in range(num_users):
        order = torch.randperm(num_items, generator=generator).tolist()
        for place, item in enumerate(order[:7]):
            kinds = ['buy', 'buy', 'buy', 'buy', 'cart', 'view', 'view']
            done = ['view', kinds[place]]  # What is bought is viewed before.
            for kind in dict.fromkeys(done):
                day = int(torch.randint(1000, (), generator=generator))
                rows.append((f'u{user:02}', f'i{item}', kind, day))
    return pd.DataFrame(rows, columns=['user', 'item', 'event', 'day'])


def log(frame=None, **kwargs) -> InteractionTable:
    frame = events() if frame is None else frame
    options = {'time': 'day', 'type': 'event', 'weights': WEIGHTS, **kwargs}
    return InteractionTable(frame, **options)


def largest(frame=None) -> dict[tuple[str, str], float]:
    frame = events() if frame is None else frame
    best = {}
    for user, item, kind, _ in frame.itertuples(index=False):
        weight = WEIGHTS[kind] / 2
        best[user, item] = max(weight, best.get((user, item), 0))
    return best


def weights(dataset) -> dict[tuple[str, str], float]:
    rates = dataset[0][RATES]
    known = pairs(dataset, rates.edge_index)
    return dict(zip(known, rates.edge_weight.tolist(), strict=True))


@pytest.mark.parametrize(
    'split', [RandomSplit(), LeaveOneOut(), TimeSplit(per_user=True), 'mmrec']
)
def test_what_weighs_most_is_held_out(tmp_path, split):
    dataset = opened(tmp_path, log(), split=split)
    best = largest()
    train, validation, test = splits(dataset)
    assert validation | test <= {pair for pair in best if best[pair] == 1}
    assert len(train) + len(validation) + len(test) == len(best)
    assert weights(dataset) == {pair: best[pair] for pair in train}
    assert dataset[0][RATES].edge_weight.dtype == torch.float32
    check(dataset[0], splits=('val', 'test'))


def test_a_split_of_purchases_is_that_without_the_others(tmp_path):
    frame = events()
    bought = frame[frame['event'] == 'buy'].drop(columns='event')
    alone = InteractionTable(bought, time='day')
    for split in (RandomSplit(), LeaveOneOut()):
        one = splits(opened(tmp_path, alone, split=split))
        other = splits(opened(tmp_path, log(), split=split))
        assert one[1:] == other[1:]
        assert one[0] < other[0]


def test_tables_of_types_are_a_log(tmp_path):
    frame = events()
    tables = {
        kind: InteractionTable(
            frame[frame['event'] == kind], time='day', weight=weight
        )
        for kind, weight in WEIGHTS.items()
    }
    other = opened(tmp_path, tables)
    for dataset in (opened(tmp_path, log()), other):
        _, validation, test = splits(dataset)
        held_out = dict.fromkeys(validation | test, 1)
        assert weights(dataset) | held_out == largest()
    assert str(other) == "Catalogue('DataFrame', 'DataFrame', 'DataFrame')"
    # Weights belong to a result:
    tables['view'] = InteractionTable(tables['view'].source, 'user', time='day')
    assert opened(tmp_path, tables)[0][RATES].edge_weight.unique().numel() == 2


def test_weights_stay_with_their_edges(tmp_path):
    rare = pd.DataFrame([('rare', 'i1', 'view', 1)], columns=[*events()])
    frame = pd.concat([events(), rare])
    with pytest.warns(UserWarning, match='k_core=3 leaves out 1 of 13 users'):
        dataset = opened(tmp_path, log(frame), k_core=3)
    expected = weights(dataset)
    assert expected.items() <= largest(frame).items()
    other = renumbered(dataset[0], seed=1)
    index = torch.stack(
        [
            other[node].original_id[ids]
            for node, ids in zip(
                ('user', 'item'), other[RATES].edge_index, strict=True
            )
        ]
    )
    known = pairs(dataset, index)
    found = dict(zip(known, other[RATES].edge_weight.tolist(), strict=True))
    assert found == expected
    whole = TrainOnAll()(dataset[0])
    known = pairs(dataset, whole[RATES].edge_index)
    found = dict(zip(known, whole[RATES].edge_weight.tolist(), strict=True))
    assert found == {p: w for p, w in largest(frame).items() if p[0] != 'rare'}


def test_equal_weights_are_left_out(tmp_path):
    frame = events()
    frame['event'] = 'buy'
    assert 'edge_weight' not in opened(tmp_path, log(frame))[0][RATES]


def test_cold_items_are_not_viewed_in_training(tmp_path):
    with pytest.warns(UserWarning, match=r'leaves out \d+ of 36 .* of lower'):
        dataset = opened(tmp_path, log(), split=ColdItemSplit(share=0.2))
    train, validation, test = splits(dataset)
    held_out = {item for _, item in validation | test}
    assert held_out
    assert held_out.isdisjoint(item for _, item in train)
    best = largest()
    assert train == {pair for pair in best if pair[1] not in held_out}


def test_training_ends_where_a_time_split_begins(tmp_path):
    with pytest.warns(UserWarning, match=r'leaves out \d+ of 36 .* of lower'):
        dataset = opened(tmp_path, log(), split=TimeSplit(share=0.1))
    rates = dataset[0][RATES]
    assert rates.time.max() <= rates.val_edge_label_time.min()
    assert (rates.edge_weight < 1).any()


def test_nothing_of_the_largest_weight_is_left(tmp_path):
    frame = events()
    frame = frame[(frame['event'] != 'buy') | (frame['user'] == 'u00')]
    frame = frame[(frame['user'] != 'u00') | (frame['event'] == 'buy')]
    with (
        warnings.catch_warnings(),
        pytest.raises(ValueError, match='No interaction is left of the large'),
    ):
        warnings.simplefilter('ignore')
        opened(tmp_path, log(frame), k_core=5)


def test_a_published_split_of_purchases(tmp_path):
    best = largest()
    bought = sorted(pair for pair in best if best[pair] == 1)
    rows = [(*pair, LABELS[place % 3]) for place, pair in enumerate(bought)]
    path = tmp_path / 'split.csv'
    columns = ['user', 'item', 'split']
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    _, validation, test = splits(
        opened(tmp_path, log(), split=PublishedSplit(path))
    )
    assert validation == set(bought[1::3])
    assert test == set(bought[2::3])


def test_the_rest_of_the_library_takes_weights(tmp_path):
    table = ItemTable(
        pd.DataFrame(
            {'item': [f'i{n}' for n in range(8)], 'title': [*'abcdefgh']}
        ),
        text='{item} {title}',
    )
    data = opened(tmp_path, log(), table)[0]
    describe(data)
    audit(data)
    task = fit(
        Recommendation(VBPR.from_data(data, dim=4), data, batch_size=16),
        max_epochs=2,
        progress=False,
    )
    metrics = evaluate(task.model, data, split='test', ks=(5,))
    assert 0 <= metrics['recall@5'] <= 1
    with pytest.warns(UserWarning, match='format has no weights'):
        to_mmrec(data, tmp_path / 'mmrec')


def test_cold_items_keep_weights_of_the_others(tmp_path):
    frame = pd.DataFrame({'item': [f'i{n}' for n in range(8)], 'title': 'A b'})
    dataset = opened(tmp_path, log(), items(dict(frame.values.tolist())))
    data = dataset[0]
    cold = ColdItems.of(data, share=0.25)
    weight = {
        pair: weight
        for pair, weight in weights(dataset).items()
        if dataset.items.index(pair[1]) not in cold.item
    }
    assert sorted(cold.warm[RATES].edge_weight.tolist()) == sorted(
        weight.values()
    )
    best = largest()
    names = [dataset.items[item] for item in cold.item.tolist()]
    assert {
        (dataset.users[user], names[place])
        for user, place in cold.test.t().tolist()
    } == {pair for pair in best if best[pair] == 1 and pair[1] in names}


# Cold items ##################################################################

SHOP = {**TITLES, 'lid': 'A lid', 'ale': '', 'rare': 'A rare one'}


def cold_shop(root, **kwargs) -> Catalogue:
    rows = [*SALES, ('u0', 'rare')]
    table = ItemTable(items(SHOP), title='title', text='{title}')
    options = {'k_core': 2, 'cold_items': True, **kwargs}
    with pytest.warns(UserWarning, match='k_core=2 leaves out 0 of 4 users'):
        return opened(root, sales(rows), table, **options)


def test_cold_items(tmp_path):
    dataset = cold_shop(tmp_path)
    warm = cold_shop(tmp_path, cold_items=False)
    assert warm.items == ['cup', 'jar', 'mug', 'pot']
    assert 'cold' not in warm[0]['item']
    assert dataset.items == [*warm.items, 'ale', 'lid', 'rare']
    item = dataset[0]['item']
    assert item.num_nodes == 7
    assert item.cold.tolist() == [False] * 4 + [True] * 3
    assert item.title[4:] == ['ale', 'A lid', 'A rare one']
    assert item.x_text[5:].tolist() == [[5, 2], [10, 3]]
    has_text = [True, False, True, True, False, True, True]
    assert item.has_text.tolist() == has_text
    for name in ('edge_index', 'val_edge_label_index', 'test_edge_label_index'):
        assert dataset[0][RATES][name].equal(warm[0][RATES][name])
    check(dataset[0])
    # They are in the catalogue, so that they are not new:
    with pytest.raises(ValueError, match="item is 'lid', which is in the cat"):
        dataset.encode_new(pd.DataFrame({'item': ['lid'], 'title': ['A lid']}))


def test_all_items_are_sold(tmp_path):
    dataset = opened(tmp_path, sales(), items(), cold_items=True)
    assert 'cold' not in dataset[0]['item']


@pytest.mark.parametrize('model', [VBPR, LightGCN])
def test_the_numbers_of_cold_items_are_not_trained(tmp_path, model):
    rows = [(f'u{u}', i) for u in range(8) for i in [*TITLES][u % 3 :][:3]]
    dataset = opened(tmp_path, sales(rows), items(SHOP), cold_items=True)
    data = dataset[0]
    if model.pre_transform is not None:
        data = model.pre_transform(data)
    torch.manual_seed(0)
    task = Recommendation(model.from_data(data, dim=4), data, lr=0.1)
    before = {k: v.clone() for k, v in task.model.state_dict().items()}
    task = fit(task, max_epochs=5, eval_every=None, progress=False)
    tables = 0
    for name, value in task.model.state_dict().items():
        if value.dim() == 2 and len(value) == 7:
            tables += 1
            assert value[4:].equal(before[name][4:]), name
            assert not value[:4].equal(before[name][:4])
    assert tables == 1
    _, item_emb = task.model(data)
    assert len(item_emb) == 7  # And yet they are recommended.


def test_new_items_beside_cold_ones(tmp_path):
    data = cold_shop(tmp_path)[0]
    _, grown = with_new_items(
        VBPR.from_data(data, dim=4),
        data,
        {'text': torch.tensor([[3.0, 1.0]])},
        ['tea'],
        ['Tea'],
    )
    assert grown['item'].cold.tolist() == [False] * 4 + [True] * 4


def test_weights_of_types_are_numbers_by_text(tmp_path):
    log = pd.DataFrame(
        [(user, item, item % 2) for user in range(6) for item in range(6)],
        columns=['user', 'item', 'event'],
    )
    weights = {0: np.float32(0.5), 1: 1}
    table = InteractionTable(log, type='event', weights=weights)
    data = Catalogue(tmp_path, table, k_core=1, split='random')[0]
    light = data[RATES].edge_weight < 1
    assert light.equal(data[RATES].edge_index[1] % 2 == 0)
    with pytest.raises(TypeError, match='needs to be a dictionary'):
        InteractionTable(log, type='event', weights=[0.1, 1.0])
