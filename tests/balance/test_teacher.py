import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from pyg_ckd.balance import Teacher
from pyg_ckd.graph import RATED_BY, RATES, fingerprint
from pyg_ckd.nn import (
    FREEDOM,
    VBPR,
    FeatureKNN,
    GraphFilter,
    InteractionKNN,
    LightGCN,
    Popularity,
)
from pyg_ckd.testing import fake_graph
from pyg_ckd.views import full, only, view

BOTH = full(['image', 'text'])


@pytest.fixture
def data():
    return fake_graph(
        num_users=8,
        num_items=6,
        num_channels=3,
        pre_transform=FREEDOM.pre_transform,
    )


@pytest.fixture
def teacher(data):
    model = VBPR.from_data(data, dim=4)
    return Teacher.from_model(model, data, only('text'), {'seed': '7'})


class Noisy(nn.Module):
    """A foreign model that returns a parameter as it is, and has dropout."""

    def __init__(self, data):
        super().__init__()
        self.user = nn.Parameter(torch.randn(data['user'].num_nodes, 3))
        self.dropout = nn.Dropout(0.5)

    def forward(self, data):
        item = data['item'].x_text + data['item'].x_image
        return self.user, self.dropout(item[:, :3])


MODELS = {
    'vbpr': lambda data: VBPR.from_data(data, dim=4),
    'light_gcn': lambda data: LightGCN.from_data(data, dim=4),
    'freedom': lambda data: FREEDOM.from_data(data, dim=4),
    'foreign': Noisy,
}


# Making one ##################################################################


@pytest.mark.parametrize('keep', [only('image'), only('text'), BOTH, None])
@pytest.mark.parametrize('name', MODELS)
def test_margin(name, keep, data):
    """Margins are those of the view, in evaluation mode."""
    model = MODELS[name](data)
    result = Teacher.from_model(model, data, keep)
    assert model.training  # as before
    user_emb, item_emb = as_it_is_seen(model.eval(), data, keep or BOTH)

    user, pos, neg = torch.randint(6, (3, 20))
    margin = result.margin(user, pos, neg)
    for b in range(20):
        expected = user_emb[user[b]].dot(item_emb[pos[b]])
        expected = expected - user_emb[user[b]].dot(item_emb[neg[b]])
        torch.testing.assert_close(margin[b], expected.detach())


def as_it_is_seen(model, data, keep):
    """Return the embeddings of a view, with features ablated by hand."""
    if isinstance(model, Noisy):
        other = copy.copy(data)
        for m in BOTH - keep:
            x = data['item'][f'x_{m}']
            other['item'][f'x_{m}'] = x.mean(dim=0).expand_as(x)
        return model(other)
    return view(model, data, keep)


def test_margin_in_groups(teacher):
    user = torch.tensor([7, 0, 3, 4, 1])
    pos, neg = torch.tensor([1, 2, 5, 0, 4]), torch.tensor([3, 3, 1, 2, 0])
    margin = teacher.margin(user, pos, neg, group_size=2)
    expected = [
        teacher.user[user[u]] @ (teacher.item[pos[p]] - teacher.item[neg[p]])
        for group in ([0, 1], [2, 3])
        for u in group
        for p in group
    ]
    torch.testing.assert_close(margin, torch.stack(expected))


def test_full_view_is_the_default(data):
    model = VBPR.from_data(data, dim=4)
    teacher = Teacher.from_model(model, data)
    torch.testing.assert_close((teacher.user, teacher.item), model(data))


def test_from_model_keeps_the_mode(data):
    model = VBPR.from_data(data, dim=4).eval()
    Teacher.from_model(model, data, only('text'))
    assert not model.training


@pytest.mark.parametrize(
    ('keep', 'message'),
    [
        (only('txet'), r"'txet', but the items have \['image', 'text'\]"),
        (full(['text', 'audio']), r"'audio', but the items have"),
        ('text', r"write only\('text'\)"),
    ],
)
def test_unknown_views(keep, message, data):
    with pytest.raises(ValueError, match=message):
        Teacher.from_model(VBPR.from_data(data, dim=4), data, keep)


@pytest.mark.parametrize(
    'model', [InteractionKNN, FeatureKNN, GraphFilter, Popularity]
)
def test_models_without_parameters(model, data):
    """Whatever recommends can teach, also with sparse embeddings."""
    model = model.from_data(data)
    teacher = Teacher.from_model(model, data)
    user, item = (emb.to_dense() for emb in model(data))
    triple = torch.randint(6, (3, 9))
    score = user @ item.t()
    expected = score[triple[0], triple[1]] - score[triple[0], triple[2]]
    torch.testing.assert_close(teacher.margin(*triple), expected)


@pytest.mark.parametrize('dtype', [torch.double, torch.bfloat16])
def test_model_in_another_precision(dtype, data):
    model = VBPR.from_data(data, dim=4).to(dtype)
    teacher = Teacher.from_model(model, data, only('text'))
    assert teacher.user.dtype == teacher.item.dtype == dtype


@pytest.mark.parametrize('modality', ['image', 'text'])
def test_frozen(modality, data):
    model = Noisy(data)
    teacher = Teacher.from_model(model, data, only(modality))
    assert not teacher.user.requires_grad
    assert not teacher.item.requires_grad
    assert not teacher.margin(*torch.randint(6, (3, 4))).requires_grad
    with pytest.raises(dataclasses.FrozenInstanceError):
        teacher.user = torch.zeros(8, 8)
    # Training the model further does not change its teacher:
    before = teacher.user.clone(), teacher.item.clone()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 1.0)
    assert torch.equal(teacher.user, before[0])
    assert torch.equal(teacher.item, before[1])


@pytest.mark.parametrize(
    'make',
    [
        lambda weight: weight,
        lambda weight: weight[:6],
        lambda weight: weight.requires_grad_(False),
    ],
    ids=['parameter', 'rows', 'frozen'],
)
@pytest.mark.parametrize('grad', [True, False])
def test_parameters_are_copied(make, grad):
    """Also those that a model returns without gradients."""
    weight = nn.Parameter(torch.randn(8, 3))
    with torch.set_grad_enabled(grad):
        table = make(weight)
        teacher = Teacher(table, table, '')
    before = teacher.user.clone()
    with torch.no_grad():
        weight.zero_()
    assert torch.equal(teacher.user, before)
    assert teacher.item.any()
    assert not teacher.user.requires_grad


def test_no_more_than_needed(data):
    """A teacher is two tables, not a part of larger ones."""
    model = FREEDOM.from_data(data, dim=4)
    teacher = Teacher.from_model(model, data, only('text'))
    for table in (teacher.user, teacher.item):
        assert table.untyped_storage().nbytes() == 4 * table.numel()


def test_fields(teacher, data):
    assert teacher.data_fingerprint == fingerprint(data)
    assert teacher.settings == {
        'model': "VBPR(8, 6, {'image': 3, 'text': 3}, dim=4)",
        'seed': '7',
    }
    assert repr(teacher) == 'Teacher(num_users=8, num_items=6, dim=8)'


def test_copies_share_the_embeddings(teacher):
    assert copy.deepcopy({'a': teacher})['a'] is teacher
    pickled = pickle.loads(pickle.dumps(teacher))
    assert torch.equal(pickled.user, teacher.user)


def test_to(teacher):
    copied = teacher.to('cpu').to(torch.double)
    assert copied.user.dtype == copied.item.dtype == torch.double
    assert copied.settings == teacher.settings
    assert copied.data_fingerprint == teacher.data_fingerprint
    assert torch.equal(copied.user.float(), teacher.user)


def test_from_embeddings(data):
    user, item = torch.randn(8, 5), torch.randn(6, 5)
    teacher = Teacher.from_embeddings(user, item, data, {'from': 'a'})
    assert teacher.data_fingerprint == fingerprint(data)
    assert teacher.settings == {'from': 'a'}
    one, two = torch.tensor([3]), torch.tensor([4])
    expected = user[3] @ item[3] - user[3] @ item[4]
    assert float(teacher.margin(one, one, two)) == pytest.approx(
        float(expected)
    )
    user.zero_()  # The teacher has a copy.
    assert teacher.user.any()


@pytest.mark.parametrize('dtype', [torch.double, torch.half, torch.long])
def test_embeddings_of_any_dtype(dtype, data):
    user, item = (torch.randint(9, (n, 2)).to(dtype) for n in (8, 6))
    teacher = Teacher.from_embeddings(user, item, data)
    assert teacher.user.dtype == teacher.item.dtype == torch.float
    assert torch.equal(teacher.item, item.float())


# What is refused #############################################################


@pytest.mark.parametrize(
    ('user', 'item'),
    [((7, 5), (6, 5)), ((8, 5), (6, 4)), ((8,), (6, 5)), ((6, 5), (8, 5))],
)
def test_embeddings_of_other_shapes(user, item, data):
    with pytest.raises(ValueError, match=r'shapes \[.*, d\]') as info:
        Teacher.from_embeddings(torch.ones(user), torch.ones(item), data)
    assert str(list(user)) in str(info.value)
    assert str(list(item)) in str(info.value)


def test_shapes_of_other_data(data, teacher):
    """Also if someone says that they belong to the data."""
    other = Teacher(teacher.item, teacher.user, fingerprint(data))
    with pytest.raises(ValueError, match=r'\[8, d\] and \[6, d\] .*\[6, 8\]'):
        other.check(data, fingerprint(data))


def test_integers():
    with pytest.raises(ValueError, match=r'floating.*\[2, 3\] of torch\.int64'):
        Teacher(torch.ones(2, 3).long(), torch.ones(4, 3), '')


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize('side', ['user', 'item'])
def test_embeddings_that_are_not_finite(side, value, data):
    emb = {'user': torch.ones(8, 2), 'item': torch.ones(6, 2)}
    emb[side][3, 1] = value
    message = f'{side} embeddings of a teacher .* first in row 3.*train it'
    with pytest.raises(ValueError, match=message):
        Teacher.from_embeddings(**emb, data=data)
    with pytest.raises(ValueError, match=message):
        Teacher(**emb, data_fingerprint='')


@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_model_that_has_diverged(value, data):
    model = VBPR.from_data(data, dim=4)
    with torch.no_grad():
        model.item.weight[2, 1] = value
    with pytest.raises(ValueError, match=r'item embeddings of a .* row 2'):
        Teacher.from_model(model, data)


def test_changed_by_hand(data, teacher):
    teacher.item[4] = torch.inf
    with pytest.raises(ValueError, match=r'item embeddings of a .* row 4'):
        teacher.check(data, fingerprint(data))


def reorder(data):
    order = torch.randperm(data[RATES].edge_index.size(1))
    data[RATES].edge_index = data[RATES].edge_index[:, order]


def hold_out_otherwise(data):
    data[RATES].test_edge_label_index = torch.tensor([[0], [0]])


@pytest.mark.parametrize('change', [reorder, hold_out_otherwise])
def test_check_accepts(teacher, data, change):
    change(data)
    teacher.check(data, fingerprint(data))


def change_interaction(data):
    user, item = data[RATES].edge_index.clone()
    known = set(item[user == 0].tolist())
    for split in ('val', 'test'):
        held_out = data[RATES][f'{split}_edge_label_index']
        known |= set(held_out[1, held_out[0] == 0].tolist())
    item[(user == 0).nonzero()[0]] = min(set(range(6)) - known)
    data[RATES].edge_index = torch.stack([user, item])
    data[RATED_BY].edge_index = data[RATES].edge_index.flip(0)


def drop_interaction(data):
    data[RATES].edge_index = data[RATES].edge_index[:, 1:]
    data[RATED_BY].edge_index = data[RATES].edge_index.flip(0)


def change_features(data):
    data['item'].x_image = data['item'].x_image + 1e-3


def swap_features(data):
    item = data['item']
    item.x_image, item.x_text = item.x_text, item.x_image


def drop_modality(data):
    del data['item'].x_image


def add_user(data):
    data['user'].num_nodes += 1


@pytest.mark.parametrize(
    'change',
    [
        change_interaction,
        drop_interaction,
        change_features,
        swap_features,
        drop_modality,
        add_user,
    ],
)
def test_check_refuses(teacher, data, change):
    expected = fingerprint(data)
    change(data)
    data = FREEDOM.pre_transform(data)
    with pytest.raises(ValueError, match='trained on other data') as info:
        teacher.check(data, fingerprint(data))
    # It says which, and how the teacher was trained:
    assert expected[:12] in str(info.value)
    assert fingerprint(data)[:12] in str(info.value)
    assert 'VBPR(8, 6' in str(info.value)


# Files #######################################################################


@pytest.mark.parametrize('as_text', [False, True])
def test_save_and_load(teacher, data, tmp_path, as_text):
    path = tmp_path / 'folder' / 'text.pt'
    teacher.save(str(path) if as_text else path)
    assert list(path.parent.iterdir()) == [path]  # no temporary file is left
    loaded = Teacher.load(str(path) if as_text else path)
    assert torch.equal(loaded.user, teacher.user)
    assert torch.equal(loaded.item, teacher.item)
    assert loaded.settings == teacher.settings
    loaded.check(data, fingerprint(data))
    triples = torch.randint(6, (3, 9))
    assert torch.equal(loaded.margin(*triples), teacher.margin(*triples))


def test_saved_file_has_no_code(teacher, tmp_path):
    teacher.save(tmp_path / 'text.pt')
    content = torch.load(tmp_path / 'text.pt', weights_only=True)
    assert set(content) == {'user', 'item', 'data_fingerprint', 'settings'}


def test_settings_of_any_kind(data, tmp_path):
    """What a file could not hold becomes text, so that it can be read."""
    settings = {'lr': np.float64(0.5), 'path': tmp_path, 'n': 3, 'x': None}
    user, item = torch.ones(8, 2), torch.ones(6, 2)
    teacher = Teacher.from_embeddings(user, item, data, settings)
    teacher.save(tmp_path / 'text.pt')
    assert Teacher.load(tmp_path / 'text.pt').settings == {
        'lr': '0.5',
        'path': str(tmp_path),
        'n': 3,
        'x': None,
    }


class Evil:
    def __reduce__(self):
        return (print, ('executed',))


def test_load_executes_nothing(teacher, tmp_path, capsys):
    path = tmp_path / 'evil.pt'
    torch.save({**teacher.state(), 'settings': {'model': Evil()}}, path)
    with pytest.raises(ValueError, match=r'evil\.pt.*UnpicklingError'):
        Teacher.load(path)
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize(
    'content',
    [
        {'modality': 'text', 'user': torch.ones(2, 1), 'item': torch.ones(3, 1),
         'data_fingerprint': '', 'settings': {}},
        {'user': torch.ones(2, 1), 'item': torch.ones(3, 1)},
        {'user': 1, 'item': 2, 'data_fingerprint': ''},
        {'user': torch.ones(2, 1), 'item': torch.ones(3, 1),
         'data_fingerprint': '', 'settings': 3},
        {'user': torch.full((2, 1), torch.nan), 'item': torch.ones(3, 1),
         'data_fingerprint': ''},
        nn.Linear(2, 3).state_dict(),
        torch.ones(3),
        [1, 2],
        None,
    ],
    ids=['old', 'part', 'numbers', 'settings', 'nan', 'state', 'tensor',
         'list', 'none'],
)  # fmt: skip
def test_files_of_something_else(content, tmp_path):
    path = tmp_path / 'other.pt'
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"other\.pt' is no whole file of a t"):
        Teacher.load(path)


@pytest.mark.parametrize(
    ('share', 'tail'),
    [(0.0, b''), (0.1, b''), (0.5, b''), (0.999, b''), (0.5, 4000 * b'f')],
)
def test_truncated_files(share, tail, teacher, tmp_path):
    path = tmp_path / 'text.pt'
    teacher.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))] + tail)
    with pytest.raises(ValueError, match=r"text\.pt' is no whole file"):
        Teacher.load(path)


@pytest.mark.parametrize(
    'content', [b'hello', b'\x80\x02}q\x00.', b'PK\x03\x04']
)
def test_files_of_other_programs(content, tmp_path):
    path = tmp_path / 'text.pt'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"text\.pt' is no whole file"):
        Teacher.load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Teacher.load(tmp_path / 'text.pt')


def test_save_replaces(teacher, tmp_path):
    path = tmp_path / 'text.pt'
    path.write_bytes(b'old')
    teacher.save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert torch.equal(Teacher.load(path).user, teacher.user)


def test_failed_save_leaves_all_as_it_was(teacher, tmp_path, monkeypatch):
    path = tmp_path / 'text.pt'
    path.write_bytes(b'old')

    def fail(content, file):
        file.write(b'half of it')
        raise OSError('disk full')

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        teacher.save(path)
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


# Averages and scales #########################################################


def test_average(data, teacher):
    user, item = torch.randn(8, 3), torch.randn(6, 3)
    other = Teacher.from_embeddings(user, item, data)
    both = Teacher.average([teacher, other])
    triple = torch.randint(6, (3, 20))
    expected = (teacher.margin(*triple) + other.margin(*triple)) / 2
    torch.testing.assert_close(both.margin(*triple), expected)
    both.check(data, fingerprint(data))


def test_average_of_different_data(data, teacher):
    change_features(data)
    other = Teacher.from_embeddings(teacher.user, teacher.item, data)
    with pytest.raises(ValueError, match='same data') as info:
        Teacher.average([teacher, other])
    assert fingerprint(data)[:12] in str(info.value)
    with pytest.raises(ValueError, match='same data'):
        Teacher.average([])


def test_spread(data):
    user, item = torch.randn(8, 3), torch.randn(6, 3) + 5
    teacher = Teacher.from_embeddings(user, item, data)
    triples = torch.cartesian_prod(
        torch.arange(8), torch.arange(6), torch.arange(6)
    )
    margin = teacher.margin(*triples.unbind(dim=1))
    assert teacher.spread == pytest.approx(
        float(margin.square().mean().sqrt()), rel=1e-4
    )
    scaled = teacher.rescaled(0.5)
    assert scaled.spread == pytest.approx(0.5)
    assert scaled.evaluate(data, ks=(3,)) == teacher.evaluate(data, ks=(3,))
    assert scaled.settings == teacher.settings


@pytest.mark.parametrize('spread', [0.0, -1.0, torch.nan])
def test_scales_that_would_spoil_a_teacher(spread, data, teacher):
    with pytest.raises(ValueError, match=rf"'spread'.*\(got {spread} and"):
        teacher.rescaled(spread)
    flat = Teacher.from_embeddings(torch.ones(8, 1), torch.ones(6, 1), data)
    with pytest.raises(ValueError, match=r'\(got 1\.0 and 0\.0\)'):
        flat.rescaled(1.0)
