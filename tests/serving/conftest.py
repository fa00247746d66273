import pytest

from pyg_ckd.datasets import FakeMultimodal


@pytest.fixture(scope='package')
def plain():
    """A graph without names."""
    return FakeMultimodal(num_users=40, num_items=30)[0]


@pytest.fixture
def shop(plain):
    """A graph whose users and items have names, and items titles."""
    data = plain.clone()
    data['user'].name = [f'u{number}' for number in range(40)]
    data['item'].name = [f'i{number}' for number in range(30)]
    data['item'].title = [f'Item “{number}”' for number in range(30)]
    return data
