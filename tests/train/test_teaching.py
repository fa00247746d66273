import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping

from pyg_ckd.balance import CKD
from pyg_ckd.graph import fingerprint
from pyg_ckd.nn import VBPR
from pyg_ckd.objectives import BPR
from pyg_ckd.ranking import evaluate
from pyg_ckd.train import Recommendation, fit_teachers
from pyg_ckd.views import only

pytestmark = pytest.mark.filterwarnings('ignore:Epoch', 'ignore:.*LeafSpec')


@pytest.fixture
def trained(monkeypatch):
    """The tasks that are trained, in order."""
    tasks = []
    start = Recommendation.on_fit_start

    def spy(self):
        tasks.append(self)
        start(self)

    monkeypatch.setattr(Recommendation, 'on_fit_start', spy)
    return tasks


SETTINGS = {'lr': 0.03, 'batch_size': 123, 'sampling': 'user'}


def assert_taught(tasks, teachers, data, objective):
    assert list(teachers) == [only('image'), only('text')]
    for task, (keep, teacher) in zip(tasks, teachers.items(), strict=True):
        assert task.keep == keep
        assert task.objective == objective
        for name, value in SETTINGS.items():
            assert getattr(task, name) == value
        assert teacher.data_fingerprint == fingerprint(data)
        # It has the best weights:
        best = max(entry['val_recall@20'] for entry in task.history)
        result = teacher.evaluate(data, split='val', ks=(20,))['recall@20']
        assert result == pytest.approx(best, abs=1e-6)


def test_fit_teachers(data, trained):
    models = []

    def make() -> VBPR:
        models.append(VBPR.from_data(data, dim=4))
        return models[-1]

    teachers = fit_teachers(
        make,
        data,
        objective=BPR(0.5),
        **SETTINGS,
        max_epochs=2,
        eval_every=1,
        progress=False,
    )
    assert [task.model for task in trained] == models
    assert_taught(trained, teachers, data, BPR(0.5))
    settings = teachers[only('text')].settings
    assert settings['lr'] == 0.03
    assert settings['objective'] == 'BPR(l2=0.5)'
    task = Recommendation(make(), data, balance=CKD(teachers))
    assert list(task.balance.teachers) == list(teachers)


def test_teachers_on_the_way(data, task_of, run, trained):
    task = task_of(CKD(), objective=BPR(0.5), **SETTINGS)
    before = {name: p.clone() for name, p in task.model.named_parameters()}
    trained.clear()
    run(task, max_epochs=2)
    *teaching, last = trained
    assert last is task
    assert_taught(teaching, task.balance.teachers, data, BPR(0.5))
    assert all(one.model is not task.model for one in teaching)
    assert any(
        not torch.equal(p, before[name])
        for name, p in task.model.named_parameters()
    )

    # They stay when training goes on:
    teachers = dict(task.balance.teachers)
    trained.clear()
    run(task, max_epochs=1)
    assert trained == [task]
    for keep, teacher in task.balance.teachers.items():
        assert torch.equal(teacher.user, teachers[keep].user)


def test_student_starts_where_it_was(data, task_of, run, trained):
    """Teachers are copies: their training does not reach the student."""
    task = task_of(CKD(strength=0.0))
    teachers = run(task_of(CKD()), max_epochs=1).balance.teachers
    given = task_of(CKD(dict(teachers), strength=0.0))
    results = []
    for one in (task, given):
        starts = {}

        def note(trainer, pl_module, starts=starts):
            starts.update(
                {k: v.clone() for k, v in pl_module.model.named_parameters()}
            )

        from pytorch_lightning.callbacks import LambdaCallback

        run(one, max_epochs=1, callbacks=LambdaCallback(on_train_start=note))
        results.append(starts)
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(callbacks=[EarlyStopping('val_recall@20')]),
        dict(logger=True),
        dict(ckpt_path='last.ckpt'),
    ],
)
def test_what_belongs_to_one_training(kwargs, data):
    (name,) = kwargs
    with pytest.raises(ValueError, match=f"'{name}' belongs to one training"):
        fit_teachers(lambda: VBPR.from_data(data, dim=4), data, **kwargs)


def test_a_model_is_no_factory(data):
    with pytest.raises(TypeError, match=r'lambda: VBPR.from_data\(data\)'):
        fit_teachers(VBPR.from_data(data, dim=4), data)


def test_teacher_of_a_model_that_is_good(data, run, task_of):
    teachers = fit_teachers(
        lambda: VBPR.from_data(data, dim=8),
        data,
        lr=0.05,
        batch_size=200,
        max_epochs=8,
        eval_every=4,
        progress=False,
    )
    untrained = evaluate(task_of().model, data, 'val', (20,))['recall@20']
    for teacher in teachers.values():
        level = teacher.evaluate(data, split='val', ks=(20,))['recall@20']
        assert level > untrained + 0.05
