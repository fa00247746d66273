import pytest
import torch

from pyg_ckd.balance import Hinge


@pytest.mark.parametrize('shape', [(20,), (20, 3)])
def test_hinge(shape):
    student, teacher = torch.randn(2, *shape)
    result = Hinge()(student, teacher)
    expected = [
        max(0.0, t - s)
        for s, t in zip(
            student.flatten().tolist(), teacher.flatten().tolist(), strict=True
        )
    ]
    assert 0.0 in expected
    torch.testing.assert_close(result, torch.tensor(expected).view(shape))


def test_gradient():
    student = torch.tensor([1.0, 3.0, -2.0], requires_grad=True)
    teacher = torch.tensor([2.0, 2.0, 5.0])
    weight = torch.tensor([1.0, 1.0, 0.5])
    (Hinge()(student, teacher) * weight).sum().backward()
    # Pulled towards the teacher, never back:
    assert student.grad.tolist() == [-1.0, 0.0, -0.5]


def test_selective():
    """Only where the teacher is right and the student wrong."""
    student, teacher = torch.randn(2, 500)
    expected = [
        max(0.0, t - s) if t > 0 > s else 0.0
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True)
    ]
    found = Hinge(selective=True)(student, teacher)
    torch.testing.assert_close(found, torch.tensor(expected))
    assert 0 < (found > 0).sum() < (Hinge()(student, teacher) > 0).sum()
    assert repr(Hinge(selective=True)) == 'Hinge(selective=True)'
