import copy
import io

import pytest
import torch
from pytorch_lightning import Callback

from pyg_ckd.balance import CKD, Teacher, Teachers
from pyg_ckd.graph import fingerprint
from pyg_ckd.nn import VBPR, FixedEmbeddings
from pyg_ckd.ranking import evaluate
from pyg_ckd.testing import PlainRecommender, fake_graph
from pyg_ckd.train import Recommendation, fit
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
    with pytest.raises(
        ValueError, match=r'needs a dictionary.* or None.*\(got an? [\w ]+\)'
    ):
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
    assert repr(teachers) == 'Teachers(full, only(image), only(text))'
    assert repr(Teachers({BOTH: given[BOTH], TEXT: given[TEXT]})) == (
        'Teachers(only(image, text), only(text))'  # of data not known yet
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
    assert teachers.at_work[TEXT] is teachers[TEXT]
    teachers.begin(data, 'CKD')
    assert list(teachers.at_work) == list(teachers)
    for keep, teacher in teachers.items():
        copied = teachers.at_work[keep]
        assert copied.user.dtype == copied.item.dtype == dtype
        assert torch.equal(copied.item, teacher.item.to(dtype))


def test_training_does_not_round(data, random_teachers):
    """Teachers and checkpoints stay as precise as they were."""
    given = {
        keep: Teacher(
            teacher.user.double() / 3, teacher.item.double(), fingerprint(data)
        )
        for keep, teacher in random_teachers(data).items()
    }
    model = VBPR.from_data(data, dim=4)
    task = Recommendation(model, data, balance=CKD(given))
    states, dtypes = [], []

    class Look(Callback):
        def on_train_epoch_end(self, trainer, task):
            dtypes.append(task.balance.teachers.at_work[TEXT].user.dtype)
            states.extend(task.balance.teachers.state())

    look = {'progress': False, 'callbacks': [Look()]}
    fit(task, max_epochs=1, **look)
    for keep, teacher in given.items():
        after = task.balance.teachers[keep]
        assert torch.equal(after.user, teacher.user)
        assert torch.equal(after.item, teacher.item)
    assert len(states) == 2
    for saved in states:
        teacher = given[frozenset(saved['view'])]
        assert torch.equal(saved['teacher']['user'], teacher.user)
    assert dtypes == [torch.float]


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
    for m in ('image', 'text'):
        data['item'][f'x_{m}'] = data['item'][f'x_{m}'].double()
    if there:
        other.begin(data, 'CKD')
    other.load_state(torch.load(file, weights_only=True))
    wanted = torch.double if there else torch.float
    assert other.at_work[TEXT].user.dtype == wanted
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


@pytest.mark.parametrize('factor', [0.0, 1.0])
def test_teacher_that_tells_nothing_apart(factor):
    data = fake_graph()
    user, item = torch.randn(12, 4), factor * torch.ones(9, 4)
    teacher = Teacher.from_embeddings(user, item, data)
    with pytest.raises(ValueError, match=r'only\(text\).* same score'):
        Teachers({only('text'): teacher}).attach(data)
