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


def test_other_forms():
    student, teacher = torch.randn(2, 20)
    mse = SpecificLoss('mse')(student, teacher)
    torch.testing.assert_close(mse, (student - teacher) ** 2)
    p, q = student.sigmoid(), teacher.sigmoid()
    expected = q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
    kl = SpecificLoss('kl')(student, teacher)
    torch.testing.assert_close(kl, expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(
        SpecificLoss('kl')(teacher, teacher), torch.zeros(20)
    )


@pytest.mark.parametrize('form', ['mse', 'kl'])
def test_other_forms_pull_back(form):
    student = torch.tensor([3.0, -3.0], requires_grad=True)
    SpecificLoss(form)(student, torch.zeros(2)).sum().backward()
    assert student.grad[0] > 0 > student.grad[1]


def test_unknown_form():
    with pytest.raises(ValueError, match=r"'form' needs to be .*'hing'"):
        SpecificLoss('hing')


def test_repr():
    assert repr(SpecificLoss()) == "SpecificLoss(form='hinge')"
    assert list(SpecificLoss().parameters()) == []
