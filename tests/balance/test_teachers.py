import copy
import io

import pytest
import torch

from pyg_ckd.balance import CKD, Teacher, Teachers
from pyg_ckd.graph import fingerprint
from pyg_ckd.nn import VBPR, FixedEmbeddings
from pyg_ckd.ranking import evaluate
from pyg_ckd.testing import PlainRecommender, fake_graph
from pyg_ckd.train import Recommendation
from pyg_ckd.views import full, only

IMAGE, TEXT, BOTH = only('image'), only('text'), full(['image', 'text'])


@pytest.fixture
def data():
    return fake_graph()


# What is refused at once #####################################################


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (['text'], r"write only\('text'\) \(got 'text'\)"),
        (['image'], r"write only\('image'\) \(got 'image'\)"),
        ([TEXT, 'image'], r"write only\('image'\)"),
        ([('text',)], r"write only\('text'\) \(got \('text',\)\)"),
        ([0], r"write only\('text'\) \(got 0\)"),
    ],
)
def test_keys_that_are_no_views(keys, message, data, random_teachers):
    teachers = dict.fromkeys(keys, random_teachers(data)[TEXT])
    with pytest.raises(ValueError, match=message):
        CKD(teachers)


def test_what_is_no_teacher(data):
    model = VBPR.from_data(data)
    with pytest.raises(ValueError, match=r'Teacher\.from_model.*got a VBPR'):
        CKD({TEXT: model})


@pytest.mark.parametrize('given', [{}, [], VBPR(3, 4, {'text': 5}), 'text'])
def test_what_is_no_dictionary_of_teachers(given):
    with pytest.raises(ValueError, match=r'needs a dictionary.* or None'):
        CKD(given)


# What is refused with the data ###############################################


def attach(teachers, data):
    """Return the teachers of a task, which has checked them."""
    model = PlainRecommender(data)
    return Recommendation(model, data, balance=CKD(teachers)).balance.teachers


@pytest.mark.parametrize('name', ['audio', 'txet'])
def test_views_that_the_data_has_not(name, data, random_teachers):
    teachers = random_teachers(data)
    teachers[only(name)] = teachers[TEXT]
    with pytest.raises(ValueError, match=f"'{name}', but the items have"):
        attach(teachers, data)


def test_teachers_of_other_data(data, random_teachers):
    stranger = random_teachers(fake_graph(seed=1))[TEXT]
    with pytest.raises(ValueError, match='trained on other data') as info:
        attach({**random_teachers(data), TEXT: stranger}, data)
    for graph in (data, fake_graph(seed=1)):
        assert fingerprint(graph)[:12] in str(info.value)


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize('side', ['user', 'item'])
def test_teachers_that_are_not_finite(side, value, data, random_teachers):
    """A student of it would diverge, and blame its own learning rate."""
    teachers = random_teachers(data)
    getattr(teachers[IMAGE], side)[5, 1] = value
    message = f'{side} embeddings of a teacher hold NaN or infinity.* row 5'
    with pytest.raises(ValueError, match=message):
        attach(teachers, data)


@pytest.mark.parametrize('shapes', [((11, 3), (9, 3)), ((12, 3), (10, 3))])
def test_teachers_of_another_size(shapes, data, random_teachers):
    user, item = map(torch.ones, shapes)
    teacher = Teacher(user, item, fingerprint(data))
    with pytest.raises(ValueError, match=r'\[12, d\] and \[9, d\]'):
        attach({TEXT: teacher}, data)


# What they do ################################################################


def test_mapping(data, random_teachers):
    given = random_teachers(data, [TEXT, BOTH, IMAGE])
    teachers = attach(given, data)
    assert isinstance(teachers, Teachers)
    assert list(teachers) == [BOTH, IMAGE, TEXT]  # the order of modalities
    assert len(teachers) == 3
    assert teachers[TEXT] is given[TEXT]
    assert only('audio') not in teachers
    assert not Teachers()
    assert repr(teachers) == (
        "['only(image, text)', 'only(image)', 'only(text)']"
    )


def test_prepare(data):
    """A teacher of each modality is trained, unless some were given."""
    models, asked = {}, []

    def teach(keep):
        asked.append(keep)
        models[keep] = VBPR.from_data(data, dim=4)
        return models[keep]

    teachers = attach(None, data)
    teachers.prepare(teach, data)
    assert asked == [IMAGE, TEXT]
    for keep, model in models.items():
        expected = Teacher.from_model(model, data, keep)
        assert torch.equal(teachers[keep].user, expected.user)
        assert torch.equal(teachers[keep].item, expected.item)
    before = dict(teachers)
    teachers.prepare(teach, data)
    assert dict(teachers) == before


@pytest.mark.parametrize('dtype', [torch.float, torch.double])
def test_begin(dtype, data, random_teachers):
    teachers = attach(random_teachers(data), data)
    for m in ('image', 'text'):
        data['item'][f'x_{m}'] = data['item'][f'x_{m}'].to(dtype)
    teachers.begin(data, 'CKD')
    for teacher in teachers.values():
        assert teacher.user.dtype == teacher.item.dtype == dtype


@pytest.mark.parametrize('owner', ['CKD', 'UMT'])
def test_begin_without_teachers(owner, data):
    with pytest.raises(ValueError, match=f"'{owner}' has no teachers yet"):
        Teachers().begin(data, owner)


def test_level(data, random_teachers):
    teachers = attach(random_teachers(data, [BOTH, TEXT]), data)
    level = teachers.level(data)
    assert list(level) == [BOTH, TEXT]
    for keep, teacher in teachers.items():
        model = FixedEmbeddings(teacher.user, teacher.item)
        expected = evaluate(model, data, 'val', (20,), metrics=('recall',))
        assert level[keep] == expected['recall@20']


@pytest.mark.parametrize('there', [True, False])
def test_state(there, data, random_teachers):
    teachers = attach(random_teachers(data, [BOTH, TEXT]), data)
    file = io.BytesIO()
    torch.save(teachers.state(), file)
    file.seek(0)
    other = attach(random_teachers(data) if there else None, data)
    other.load_state(torch.load(file, weights_only=True))
    assert list(other) == [BOTH, TEXT]
    for keep, teacher in teachers.items():
        assert torch.equal(other[keep].user, teacher.user)
        assert torch.equal(other[keep].item, teacher.item)
        assert other[keep].settings == teacher.settings
        assert other[keep].data_fingerprint == teacher.data_fingerprint


def test_state_of_other_data(data, random_teachers):
    state = attach(random_teachers(data), data).state()
    other = fake_graph(seed=1)
    teachers = attach(random_teachers(other), other)
    before = dict(teachers)
    with pytest.raises(ValueError, match='teachers of other data'):
        teachers.load_state(state)
    assert dict(teachers) == before


def test_copies_are_apart(data, random_teachers):
    teachers = attach(random_teachers(data), data)
    other = copy.deepcopy(teachers)
    other.load_state([])
    assert not other
    assert set(teachers) == {IMAGE, TEXT}
