import subprocess
import sys

import pytest

import pyg_ckd.train


@pytest.mark.parametrize('name', pyg_ckd.train.__all__)
def test_names(name):
    value = getattr(pyg_ckd.train, name)
    assert value.__name__ == name
    assert name in dir(pyg_ckd.train)


def test_unknown_name():
    with pytest.raises(ImportError, match='no_such'):
        from pyg_ckd.train import no_such  # noqa: F401


def test_losses_need_no_lightning():
    code = (
        'import sys; from pyg_ckd.train import TripletLoader, compute_losses;'
        "assert not [m for m in sys.modules if 'lightning' in m]"
    )
    subprocess.run([sys.executable, '-c', code], check=True)
