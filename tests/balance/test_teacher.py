import dataclasses
import pickle

import pytest
import torch
from torch import nn

from pyg_ckd.graph import RATES, fingerprint
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.distill import Teacher
from pyg_ckd.nn import FREEDOM, VBPR, LightGCN
from pyg_ckd.views import full, only, view


@pytest.fixture
def data():
    return FakeMultimodal(
        num_users=8,
        num_items=6,
        num_channels=3,
        pre_transform=LightGCN.pre_transform,
    )[0]


@pytest.fixture
def teacher(data):
    model = VBPR.from_data(data, dim=4)
    return Teacher.from_model(model, data, 'text', {'seed': '7'})


class Foreign(nn.Module):
    def __init__(self, data):
        super().__init__()
        self.user = nn.Parameter(torch.randn(data['user'].num_nodes, 3))
        self.dropout = nn.Dropout(0.5)

    def forward(self, data):
        item = data['item'].x_text + data['item'].x_image
        return self.user, self.dropout(item)


@pytest.mark.parametrize('modality', ['image', 'text'])
@pytest.mark.parametrize(
    'make',
    [
        lambda data: VBPR.from_data(data, dim=4),
        lambda data: LightGCN.from_data(data, dim=4),
        Foreign,
    ],
    ids=['VBPR', 'LightGCN', 'foreign'],
)
def test_margin(make, modality, data):
    """Margins are those of the uni-modal view, in evaluation mode."""
    model = make(data)
    result = Teacher.from_model(model, data, modality)
    assert model.training  # as before
    user_emb, item_emb = view(model.eval(), data, only(modality))

    user, pos, neg = torch.randint(6, (3, 20))
    margin = result.margin(user, pos, neg)
    for b in range(20):
        expected = user_emb[user[b]].dot(item_emb[pos[b]])
        expected = expected - user_emb[user[b]].dot(item_emb[neg[b]])
        torch.testing.assert_close(margin[b], expected.detach())


def test_crossed_margin(teacher):
    user = torch.tensor([7, 0, 3, 4, 1])
    pos, neg = torch.tensor([1, 2, 5, 0, 4]), torch.tensor([3, 3, 1, 2, 0])
    margin = teacher.crossed_margin(user, pos, neg, size=2)
    expected = [
        teacher.user[user[u]] @ (teacher.item[pos[p]] - teacher.item[neg[p]])
        for group in ([0, 1], [2, 3])
        for u in group
        for p in group
    ]
    torch.testing.assert_close(margin, torch.stack(expected))


def test_from_model_of_another_view(data):
    model = VBPR.from_data(data, dim=4)
    keep = full(['image', 'text'])
    teacher = Teacher.from_model(model, data, 'text', keep=keep)
    assert teacher.modality == 'text'
    for own, expected in zip(
        (teacher.user, teacher.item), model(data), strict=True
    ):
        torch.testing.assert_close(own, expected)
    with pytest.raises(ValueError, match=r"one of .*'text'.*'txet'"):
        Teacher.from_model(model, data, 'txet', keep=keep)


def test_from_model_keeps_the_mode(data):
    model = VBPR.from_data(data, dim=4).eval()
    Teacher.from_model(model, data, 'text')
    assert not model.training


def test_from_model_of_unknown_modality(data):
    model = VBPR.from_data(data, dim=4)
    with pytest.raises(ValueError, match=r"\['image', 'text'\].*'txet'"):
        Teacher.from_model(model, data, 'txet')


@pytest.mark.parametrize('modality', ['image', 'text'])
def test_frozen(modality, data):
    model = Foreign(data)  # returns a parameter as it is
    teacher = Teacher.from_model(model, data, modality)
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


def test_no_more_than_needed(data):
    """A teacher is two tables, not a part of larger ones."""
    data = FREEDOM.pre_transform(data)
    teacher = Teacher.from_model(FREEDOM.from_data(data, dim=4), data, 'text')
    for table in (teacher.user, teacher.item):
        assert table.untyped_storage().nbytes() == 4 * table.numel()


def test_fields(teacher, data):
    assert teacher.modality == 'text'
    assert teacher.data_fingerprint == fingerprint(data)
    assert teacher.settings == {
        'model': "VBPR(8, 6, {'image': 3, 'text': 3}, dim=4)",
        'seed': '7',
    }
    assert repr(teacher) == "Teacher('text', num_users=8, num_items=6, dim=8)"


def test_to(teacher):
    copied = teacher.to('cpu')
    assert copied.settings == teacher.settings
    assert copied.data_fingerprint == teacher.data_fingerprint
    assert torch.equal(copied.user, teacher.user)
    meta = teacher.to('meta')
    assert meta.user.device.type == meta.item.device.type == 'meta'


@pytest.mark.parametrize('as_text', [False, True])
def test_save_and_load(teacher, data, tmp_path, as_text):
    path = tmp_path / 'text.pt'
    teacher.save(str(path) if as_text else path)
    assert list(tmp_path.iterdir()) == [path]  # no temporary file is left
    loaded = Teacher.load(str(path) if as_text else path)
    for field in dataclasses.fields(Teacher):
        result = getattr(loaded, field.name)
        expected = getattr(teacher, field.name)
        if isinstance(expected, torch.Tensor):
            assert torch.equal(result, expected)
        else:
            assert result == expected
    loaded.check(data, fingerprint(data))
    triples = torch.randint(6, (3, 9))
    assert torch.equal(loaded.margin(*triples), teacher.margin(*triples))


def test_saved_file_has_no_code(teacher, tmp_path):
    teacher.save(tmp_path / 'text.pt')
    content = torch.load(tmp_path / 'text.pt', weights_only=True)
    assert set(content) == {
        'modality',
        'user',
        'item',
        'data_fingerprint',
        'settings',
    }


class Evil:
    def __reduce__(self):
        return (print, ('executed',))


def test_load_executes_nothing(teacher, tmp_path, capsys):
    path = tmp_path / 'evil.pt'
    content = dataclasses.asdict(teacher)
    torch.save({**content, 'settings': {'model': Evil()}}, path)
    with pytest.raises(pickle.UnpicklingError):
        Teacher.load(path)
    assert capsys.readouterr().out == ''


def test_save_replaces(teacher, tmp_path):
    path = tmp_path / 'text.pt'
    path.write_bytes(b'old')
    teacher.save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert torch.equal(Teacher.load(path).user, teacher.user)


def test_failed_save_leaves_all_as_it_was(teacher, tmp_path, monkeypatch):
    path = tmp_path / 'text.pt'
    path.write_bytes(b'old')

    def fail(content, target):
        with open(target, 'wb') as file:
            file.write(b'half of it')
        raise OSError('disk full')

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        teacher.save(path)
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


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
    item[(user == 0).nonzero()[0]] = min(set(range(6)) - known)
    data[RATES].edge_index = torch.stack([user, item])


def drop_interaction(data):
    data[RATES].edge_index = data[RATES].edge_index[:, 1:]


def change_features(data):
    data['item'].x_image = data['item'].x_image + 1e-3


def swap_features(data):
    item = data['item']
    item.x_image, item.x_text = item.x_text, item.x_image


def drop_other_modality(data):
    del data['item'].x_image


@pytest.mark.parametrize(
    'change',
    [
        change_interaction,
        drop_interaction,
        change_features,
        swap_features,
        drop_other_modality,
    ],
)
def test_check_refuses(teacher, data, change):
    expected = fingerprint(data)
    change(data)
    with pytest.raises(
        ValueError, match=r"teacher of 'text' was trained on other data"
    ) as info:
        teacher.check(data, fingerprint(data))
    # It says which, and how the teacher was trained:
    assert expected[:12] in str(info.value)
    assert fingerprint(data)[:12] in str(info.value)
    assert 'VBPR(8, 6' in str(info.value)


def test_check_refuses_without_modality(teacher, data):
    del data['item'].x_text
    with pytest.raises(ValueError, match=r"teacher of 'text'.*\['image'\]"):
        teacher.check(data, fingerprint(data))


def test_any_width():
    teacher = Teacher('text', torch.eye(3), torch.eye(3), '')
    index = torch.tensor([0, 1, 2])
    margin = teacher.margin(index, index, torch.tensor([1, 1, 1]))
    assert margin.tolist() == [1, 0, 1]
    assert teacher.settings == {}


def test_from_embeddings(data):
    user, item = torch.randn(8, 5), torch.randn(6, 5)
    teacher = Teacher.from_embeddings(user, item, data, 'text', {'from': 'a'})
    assert teacher.data_fingerprint == fingerprint(data)
    assert teacher.settings == {'from': 'a'}
    one, two = torch.tensor([3]), torch.tensor([4])
    expected = user[3] @ item[3] - user[3] @ item[4]
    assert float(teacher.margin(one, one, two)) == pytest.approx(
        float(expected)
    )
    user.zero_()  # The teacher has a copy.
    assert teacher.user.any()


@pytest.mark.parametrize(
    ('user', 'item', 'message'),
    [
        ((7, 5), (6, 5), r"'user' needs the shape \[8, d\].*\[7, 5\]"),
        ((8, 5), (6, 4), r"'item' needs the shape \[6, d\].*\[6, 4\]"),
        ((8,), (6, 5), r"'user' needs the shape \[8, d\].*\[8\]"),
    ],
)
def test_embeddings_of_other_data(user, item, message, data):
    with pytest.raises(ValueError, match=message):
        Teacher.from_embeddings(
            torch.ones(user), torch.ones(item), data, 'text'
        )


def test_embeddings_that_are_not_finite(data):
    item = torch.ones(6, 2)
    item[3, 1] = torch.nan
    with pytest.raises(ValueError, match="'item' holds NaN"):
        Teacher.from_embeddings(torch.ones(8, 2), item, data, 'text')


def test_average(data, teacher):
    other = Teacher.from_embeddings(
        torch.randn(8, 3), torch.randn(6, 3), data, 'text'
    )
    both = Teacher.average([teacher, other])
    triple = torch.randint(6, (3, 20))
    expected = (teacher.margin(*triple) + other.margin(*triple)) / 2
    torch.testing.assert_close(both.margin(*triple), expected)
    both.check(data, fingerprint(data))


def test_average_of_different_kinds(data, teacher):
    image = Teacher.from_embeddings(
        torch.ones(8, 2), torch.ones(6, 2), data, 'image'
    )
    with pytest.raises(ValueError, match=r"one modality.*'image'.*'text'"):
        Teacher.average([teacher, image])
    with pytest.raises(ValueError, match='one modality'):
        Teacher.average([])


def test_spread(data):
    teacher = Teacher.from_embeddings(
        torch.randn(8, 3), torch.randn(6, 3) + 5, data, 'text'
    )
    user, first, second = torch.cartesian_prod(
        torch.arange(8), torch.arange(6), torch.arange(6)
    ).unbind(dim=1)
    margin = teacher.margin(user, first, second)
    assert teacher.spread == pytest.approx(
        float(margin.square().mean().sqrt()), rel=1e-4
    )
    scaled = teacher.rescaled(0.5)
    assert scaled.spread == pytest.approx(0.5)
    assert scaled.evaluate(data, ks=(3,)) == teacher.evaluate(data, ks=(3,))
    assert scaled.settings == teacher.settings
