"""What type checkers are told of Lightning's arguments is what there is."""

from inspect import signature

from pytorch_lightning import Trainer

from pyg_ckd.train import fit
from pyg_ckd.train.fit_options import FitOptions
from pyg_ckd.train.trainer import _OWNED
from pyg_ckd.train.trainer_options import TrainerOptions

#: Those that came after the oldest release that is supported.
LATER = {'enable_autolog_hparams'}


def test_trainer_options():
    options = set(TrainerOptions.__annotations__)
    own = set(signature(fit).parameters)
    there = set(signature(Trainer).parameters)
    assert options - there <= LATER
    assert there - options == {*_OWNED, 'max_epochs'}
    assert not options & (own | _OWNED.keys())


def test_fit_options():
    own = set(signature(fit).parameters) - {'task', 'ckpt_path', 'kwargs'}
    assert set(FitOptions.__annotations__) == own | set(
        TrainerOptions.__annotations__
    )
