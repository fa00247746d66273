"""Arguments that count something are whole numbers, everywhere."""

import functools

import numpy as np
import pytest

from pyg_ckd.balance import SoftCrossEntropy
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.nn import InteractionKNN, LightGCN
from pyg_ckd.objectives import Softmax
from pyg_ckd.ranking import evaluate, rank, recommend
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.transforms import CoOccurrence, FeaturePCA, ItemKNN

SHOP = functools.partial(FakeMultimodal, num_items=30)
DATA = LightGCN.pre_transform(SHOP(num_users=20)[0])
MODEL = LightGCN.from_data(DATA)
TASK = Recommendation(MODEL, DATA)

#: What takes a number by name, each with a number that suits it.
COUNTS = {
    'rank': ('k', 2, functools.partial(rank, MODEL, DATA)),
    'blocks': ('block_size', 2, functools.partial(rank, MODEL, DATA)),
    'recommend': ('k', 2, functools.partial(recommend, MODEL, DATA, [0])),
    'evaluate': ('ks', 2, lambda ks: evaluate(MODEL, DATA, ks=[ks])),
    'dim': ('dim', 2, functools.partial(LightGCN.from_data, DATA)),
    'layers': ('num_layers', 2, functools.partial(LightGCN.from_data, DATA)),
    'neighbors': ('k', 2, functools.partial(InteractionKNN.from_data, DATA)),
    'ItemKNN': ('k', 2, ItemKNN),
    'ItemKNN blocks': ('block_size', 2, ItemKNN),
    'CoOccurrence': ('min_count', 2, CoOccurrence),
    'FeaturePCA': ('dim', 2, FeaturePCA),
    'users': ('num_users', 20, SHOP),
    'interactions': ('num_interactions', 5, SHOP),
    'batches': (
        'batch_size',
        64,
        lambda batch_size: Recommendation(
            MODEL, DATA, batch_size=batch_size
        ).train_dataloader(),
    ),
    'Softmax': ('negatives', 2, Softmax),
    'pairs': ('num_pairs', 2, SoftCrossEntropy),
    'epochs': ('max_epochs', 1, functools.partial(fit, TASK)),
    'evaluations': (
        'eval_every',
        1,
        lambda eval_every: fit(TASK, max_epochs=1, eval_every=eval_every),
    ),
    'patience': (
        'patience',
        1,
        lambda patience: fit(TASK, max_epochs=1, patience=patience),
    ),
}


@pytest.mark.parametrize('count', COUNTS)
@pytest.mark.parametrize('kind', [float, str, bool, np.float32])
def test_other_numbers_are_refused(count, kind):
    name, value, call = COUNTS[count]
    with pytest.raises(ValueError, match=rf"'{name}' needs .*got "):
        call(**{name: kind(value)})


@pytest.mark.parametrize('count', COUNTS)
def test_those_of_numpy_are_taken(count):
    name, value, call = COUNTS[count]
    call(**{name: np.int64(value)})


def test_the_message():
    with pytest.raises(
        ValueError,
        match=r"^'b' needs to be a whole number, at least 0, in 'f' \(got -1\)",
    ):
        check_whole('f', 0, a=0, b=-1)
