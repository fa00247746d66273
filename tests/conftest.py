import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture(autouse=True)
def reset_seed() -> None:
    """Start every test from the same random state."""
    torch.manual_seed(12345)


@pytest.fixture(scope='session')
def load_benchmark() -> Callable[[str], ModuleType]:
    """Return a function that imports a script of ``benchmarks/``."""
    folder = str(Path(__file__).resolve().parents[1] / 'benchmarks')

    def load(name: str) -> ModuleType:
        sys.path.insert(0, folder)  # scripts import their neighbours
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(folder)

    return load


@pytest.fixture(scope='session')
def shared() -> Path:
    """The optional folder ``shared/`` next to the repository."""
    path = Path(__file__).resolve().parents[2] / 'shared'
    if not path.is_dir():
        pytest.skip("needs the folder 'shared' next to the repository")
    return path
