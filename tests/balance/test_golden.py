"""Figures of an independent implementation of CKD's published semantics."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.balance import (
    CKD,
    Hinge,
    SoftCrossEntropy,
    Teacher,
    effects,
    modality_weights,
)
from pyg_ckd.graph import RATES
from pyg_ckd.nn import MMGCN, VBPR
from pyg_ckd.nn.door import Foreign
from pyg_ckd.objectives import BPR
from pyg_ckd.train import Recommendation
from pyg_ckd.train.losses import Losses
from pyg_ckd.views import full, only, view

NAMES = ['image', 'text']
KEEPS = {'full': full(NAMES), 'image': only('image'), 'text': only('text')}
SHARED = {
    'user.weight': 'user_embedding.weight',
    'item.weight': 'item_embedding.weight',
    'projection.image.weight': 'image_trs.weight',
    'projection.image.bias': 'image_trs.bias',
    'projection.text.weight': 'text_trs.weight',
    'projection.text.bias': 'text_trs.bias',
}
LAYERS = {
    'neighbor': 'conv_embed_',
    'self_loop': 'linear_layer',
    'combine': 'g_layer',
}
# The names that our parameters have in the files:
PARAMETERS = {
    VBPR: {
        **SHARED,
        'preference.image': 'user_image_preference.weight',
        'preference.text': 'user_text_preference.weight',
    },
    MMGCN: {
        **SHARED,
        'preference.image': 'user_image_preference',
        'preference.text': 'user_text_preference',
        **{
            f'convs.{m}.{layer}.{ours}.{part}': (
                f'{m[0].replace("i", "v")}_gcn.{theirs}{layer + 1}.{part}'
            )
            for m in NAMES
            for layer in range(3)
            for ours, theirs in LAYERS.items()
            for part in ('weight', 'bias')
        },
    },
}

FOLDER = Path(__file__).resolve().parents[3] / 'shared' / 'golden'
FILES = sorted(FOLDER.glob('golden_*.npz'))


def load(golden: dict[str, Tensor], data: HeteroData, prefix: str) -> nn.Module:
    cls = MMGCN if f'{prefix}/v_gcn.g_layer1.weight' in golden else VBPR
    model = cls.from_data(data, dim=8)
    model.load_state_dict(
        {
            name: golden[f'{prefix}/{key}']
            for name, key in PARAMETERS[cls].items()
        }
    )
    return model


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def problem(request: pytest.FixtureRequest) -> SimpleNamespace:
    """One problem: the figures, and our student and teachers of it."""
    with np.load(request.param) as file:
        golden = {key: torch.from_numpy(file[key]) for key in file}
    num_users = len(golden['student/user_embedding.weight'])
    num_items = len(golden['student/item_embedding.weight'])
    data = HeteroData()
    data['user'].num_nodes = num_users
    data['item'].num_nodes = num_items
    for m in NAMES:
        data['item'][f'x_{m}'] = golden[m]
    data[RATES].edge_index = golden['edge_index']
    data = MMGCN.pre_transform(data)
    student = load(golden, data, 'student')
    teachers = {
        only(m): Teacher.from_model(
            load(golden, data, f'teacher_{m}'), data, only(m)
        )
        for m in NAMES
    }
    # The pairs that the authors' code drew:
    generic = tuple(golden[key] for key in ('kd_users', 'kd_j', 'kd_k'))
    ckd = CKD(teachers, on_random=SoftCrossEntropy(group_size=1, eps=1e-8))
    task = Recommendation(student, data, BPR(l2=1e-5), ckd)
    task.balance.triples = lambda: generic
    return SimpleNamespace(
        golden=golden,
        data=data,
        student=student,
        teachers=teachers,
        task=task,
        batch=tuple(golden[key] for key in ('users', 'pos', 'neg')),
        generic=generic,
    )


def assert_close(result: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', KEEPS)
def test_embeddings(problem, name):
    user, item = view(problem.student, problem.data, KEEPS[name])
    assert_close(user, problem.golden[f'emb/{name}_user'])
    assert_close(item, problem.golden[f'emb/{name}_item'])


@pytest.mark.parametrize('modality', NAMES)
def test_teacher_embeddings(problem, modality):
    teacher = load(problem.golden, problem.data, f'teacher_{modality}')
    user, item = view(teacher, problem.data, only(modality))
    expected_user = problem.golden[f'emb/teacher_{modality}_user']
    expected_item = problem.golden[f'emb/teacher_{modality}_item']
    assert_close(user, expected_user)
    assert_close(item, expected_item)

    # What is kept of it has the same margins:
    user, pos, neg = problem.generic
    score = expected_user @ expected_item.t()
    assert_close(
        problem.teachers[only(modality)].margin(*problem.generic),
        score[user, pos] - score[user, neg],
    )


def test_terms(problem):
    golden, data = problem.golden, problem.data
    student = problem.student.views(data, list(KEEPS.values()))
    margin = student.triples(*problem.batch).margin()
    joint, alone = margin[:, 0], margin[:, 1:]
    assert_close(joint, golden['loss/margin_full'])
    assert_close(alone[:, 0], golden['loss/margin_image'])
    assert_close(alone[:, 1], golden['loss/margin_text'])

    # Without the image there is only text:
    progress = effects(joint, without=alone.flip(1), reference=alone)
    weight = modality_weights(progress)
    for i, m in enumerate(NAMES):
        teacher = problem.teachers[only(m)].margin(*problem.batch)
        specific = Hinge()(alone[:, i], teacher)
        assert_close(specific, golden[f'loss/specific_{m}'])
        assert_close(progress[:, i], golden[f'loss/effect_{m}'])
        assert_close(weight[:, i], golden[f'loss/weight_{m}'])


@pytest.mark.parametrize('modality', NAMES)
def test_generic(problem, modality):
    student = problem.student.views(problem.data, [only(modality)])
    margin = student.triples(*problem.generic).margin()[:, 0]
    teacher = problem.teachers[only(modality)].margin(*problem.generic)
    result = problem.task.balance.on_random(margin, teacher)
    assert_close(result, problem.golden[f'loss/generic_{modality}'])


def losses_of(problem: SimpleNamespace) -> Losses:
    return problem.task.losses(problem.batch)


def test_loss(problem):
    golden, losses = problem.golden, losses_of(problem)
    for m in NAMES:
        for term in ('specific', 'weight', 'generic'):
            expected = golden[f'loss/{term}_{m}'].mean()
            assert_close(losses.scalars[f'{term}_{m}'], expected)
    base = golden['loss/bpr'] + golden['loss/reg']
    assert_close(losses.scalars['base'], base)
    assert_close(losses.added, golden['loss/kd'])
    assert_close(losses.total, golden['loss/loss'])


def test_regularization(problem):
    # The regulariser is small: see it enlarged.
    bases = {}
    for l2 in (0.0, 1.0):
        problem.task.objective = BPR(l2)
        bases[l2] = losses_of(problem).base
    assert_close(bases[0.0], problem.golden['loss/bpr'])
    assert_close(bases[1.0] - bases[0.0], problem.golden['loss/reg'] / 1e-5)


def test_gradients(problem):
    losses_of(problem).total.backward()
    parameters = dict(problem.student.named_parameters())
    names = PARAMETERS[type(problem.student)]
    assert parameters.keys() == names.keys()
    for name, key in names.items():
        if f'grad/{key}' in problem.golden:
            assert_close(parameters[name].grad, problem.golden[f'grad/{key}'])
        else:  # what the authors' MMGCN does not train
            assert name.startswith('preference')
            assert parameters[name].grad.abs().max() > 0


def test_sharing_changes_nothing(problem):
    """One forward pass a view, as the authors do it, has the same loss."""
    results = []
    for recommender in (problem.student, Foreign(problem.student)):
        problem.task.recommender = recommender
        problem.student.zero_grad()
        loss = losses_of(problem).total
        loss.backward()
        gradients = [p.grad.clone() for p in problem.student.parameters()]
        results.append([loss.detach(), *gradients])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
