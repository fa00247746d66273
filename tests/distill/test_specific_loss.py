import pytest
import torch

from pyg_ckd.distill import SpecificLoss, specific_loss


@pytest.mark.parametrize('shape', [(20,), (20, 3)])
def test_specific_loss(shape):
    student, teacher = torch.randn(2, *shape)
    result = SpecificLoss()(student, teacher)
    expected = [
        max(0.0, t - s)
        for s, t in zip(
            student.flatten().tolist(), teacher.flatten().tolist(), strict=True
        )
    ]
    assert 0.0 in expected
    torch.testing.assert_close(result, torch.tensor(expected).view(shape))
    assert torch.equal(specific_loss(student, teacher), result)


def test_gradient():
    student = torch.tensor([1.0, 3.0, -2.0], requires_grad=True)
    teacher = torch.tensor([2.0, 2.0, 5.0])
    weight = torch.tensor([1.0, 1.0, 0.5])
    (SpecificLoss()(student, teacher) * weight).sum().backward()
    # Pulled towards the teacher, never back:
    assert student.grad.tolist() == [-1.0, 0.0, -0.5]


def test_repr():
    assert repr(SpecificLoss()) == 'SpecificLoss()'
    assert list(SpecificLoss().parameters()) == []
