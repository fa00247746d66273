from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def reset_seed() -> None:
    """Start every test from the same random state."""
    torch.manual_seed(12345)


@pytest.fixture(scope='session')
def shared() -> Path:
    """The optional folder ``shared/`` next to the repository."""
    path = Path(__file__).resolve().parents[2] / 'shared'
    if not path.is_dir():
        pytest.skip("needs the folder 'shared' next to the repository")
    return path
