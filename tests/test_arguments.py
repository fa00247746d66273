"""Arguments that are numbers are checked, everywhere."""

import functools
import inspect
import math
import tempfile
from fractions import Fraction

import numpy as np
import pytest
import torch

from pyg_ckd import balance, from_interactions, objectives
from pyg_ckd.balance import ModalityDropout, SoftCrossEntropy
from pyg_ckd.datasets import (
    FakeMultimodal,
    LATTICEFolder,
    PictureDownload,
    TextEncoder,
)
from pyg_ckd.datasets.raw.renumbered import renumbered
from pyg_ckd.experiments import (
    METHODS,
    Experiment,
    Settings,
    Store,
    bootstrap_interval,
)
from pyg_ckd.experiments.plots.degrees import degree_changes
from pyg_ckd.experiments.tuning import tune
from pyg_ckd.inspect import diagnose, knock_out
from pyg_ckd.kernels.arguments import check_number, check_whole
from pyg_ckd.nn import (
    FREEDOM,
    STAIR,
    EgoConv,
    InteractionKNN,
    ItemBias,
    LightGCN,
    models,
)
from pyg_ckd.nn.conv import PreferenceRouting
from pyg_ckd.nn.models.whitening import Whitening
from pyg_ckd.objectives import Softmax
from pyg_ckd.ranking import evaluate, rank, recommend
from pyg_ckd.serving import Served
from pyg_ckd.serving.cold_items import ColdItems
from pyg_ckd.serving.http import Live, create_app
from pyg_ckd.train import Recommendation, SaveLast, fit
from pyg_ckd.transforms import (
    CoOccurrence,
    FeaturePCA,
    ItemKNN,
    MissingModality,
    NoisyModality,
)

SHOP = functools.partial(FakeMultimodal, num_items=30)
DATA = LightGCN.pre_transform(SHOP(num_users=20)[0])
MODEL = LightGCN.from_data(DATA)
TASK = Recommendation(MODEL, DATA)

WRONG = {'image': 1.0, 'text': math.nan}
ONES = [1.0, 2.0], [2.0, 1.0]

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


def test_the_message_of_numbers():
    """It names the range, whatever is wrong."""
    for wrong in (-1, '0.5', math.nan):
        with pytest.raises(
            ValueError,
            match=r"^'p' needs to be a finite number, in \[0, 1\), in 'f' \(",
        ):
            check_number('f', 'in [0, 1)', p=wrong)


def test_the_message():
    with pytest.raises(
        ValueError,
        match=r"^'b' needs to be a whole number, at least 0, in 'f' \(got -1\)",
    ):
        check_whole('f', 0, a=0, b=-1)


# Seeds #######################################################################


def planned(seed):
    """Return the key of a planned run."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment(
            'shop', lambda _: SHOP(num_users=20)[0], Settings({}), Store(folder)
        )
        return experiment.planned('VBPR', METHODS['base'], seed).key


def tuned(seed):
    """Ask for a search that no seed lets begin."""
    tune(None, 'VBPR', ['none'], seed=seed)


#: What takes a seed, and returns what it draws if it is quickly done.
SEEDS = {
    'FakeMultimodal': lambda seed: SHOP(seed=seed)[0]['item'].x_text,
    'MissingModality': lambda seed: (
        MissingModality('text', 0.5, seed=seed)(SHOP()[0])['item'].has_text
    ),
    'NoisyModality': lambda seed: (
        NoisyModality('text', 1.0, seed=seed)(SHOP()[0])['item'].x_text
    ),
    'renumbered': lambda seed: renumbered(SHOP()[0], seed)['item'].x_text,
    'ColdItems': lambda seed: ColdItems.of(SHOP()[0], seed=seed).item,
    'knock_out': lambda seed: knock_out(MODEL, DATA, seed=seed).rows,
    'bootstrap_interval': lambda seed: bootstrap_interval(*ONES, seed=seed),
    'Run': planned,
}


@pytest.mark.parametrize('owner', [*SEEDS, 'diagnose', 'tune'])
@pytest.mark.parametrize('seed', [2.0, '3', True, None, -1, 2**63, math.nan])
def test_what_is_no_seed_is_refused(owner, seed):
    calls = {
        **SEEDS,
        'diagnose': lambda seed: diagnose(MODEL, DATA, {}, seed=seed),
        'tune': tuned,
    }
    message = f"'seed' needs to be a whole number from 0 .* in '{owner}'"
    with pytest.raises(ValueError, match=message):
        calls[owner](seed)


@pytest.mark.parametrize('owner', SEEDS)
def test_a_seed_of_numpy_draws_the_same(owner):
    own, other = SEEDS[owner](3), SEEDS[owner](np.int64(3))
    if isinstance(own, torch.Tensor):
        own, other = own.tolist(), other.tolist()
    assert own == other


def test_seeds_of_runs_have_32_bits():
    assert planned(2**32 - 1)
    with pytest.raises(ValueError, match='2\\^32 - 1'):
        planned(2**32)


# Numbers #####################################################################


def makers():
    """Yield what makes each public class that needs no other argument."""
    for name in models.__all__:
        made = getattr(models, name)
        if isinstance(made, type) and issubclass(made, models.Backbone):
            yield name, made, functools.partial(made.from_data, DATA)
    for package in (balance, objectives):
        for name in package.__all__:
            made = getattr(package, name)
            if isinstance(made, type) and not inspect.isabstract(made):
                needed = inspect.signature(made).parameters.values()
                if all(p.default is not p.empty for p in needed):
                    yield name, made, made
    yield 'FakeMultimodal', FakeMultimodal, SHOP
    task = functools.partial(Recommendation, MODEL, DATA)
    yield 'Recommendation', Recommendation, task


#: All arguments that are real numbers by default, of all these classes.
NUMBERS = {
    f'{name}.{key}': (key, make)
    for name, made, make in makers()
    for key, parameter in inspect.signature(made).parameters.items()
    if isinstance(parameter.default, float)
}
#: What may be below zero.
ANY = {'EgoGCN.threshold'}


def test_there_are_numbers():
    found = {key.split('.')[0] for key in NUMBERS}
    assert {'LGMRec', 'CKD', 'Softmax', 'NLGCL', 'Recommendation'} <= found
    assert len(NUMBERS) > 40


@pytest.mark.parametrize('number', NUMBERS)
@pytest.mark.parametrize(
    'value', [math.nan, math.inf, -math.inf, '0.1', True, None, -1.0]
)
def test_other_values_are_refused(number, value):
    name, make = NUMBERS[number]
    allowed = value == -1.0 and number in ANY
    allowed |= value is None and number in {'EgoGCN.threshold'}
    if allowed:
        make(**{name: value})
        return
    with pytest.raises(ValueError, match=rf"'{name}' needs .*got "):
        make(**{name: value})


@pytest.mark.parametrize('number', NUMBERS)
def test_numbers_of_numpy_are_taken(number):
    name, make = NUMBERS[number]
    make(**{name: np.float32(0.5)})


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: FREEDOM.from_data(SHOP()[0], graph_weight=WRONG), "'text'"),
        (lambda: STAIR.from_data(SHOP()[0], modality_weight=WRONG), 'weight'),
        (lambda: SHOP(noise=WRONG), r"noise\['text'\]"),
        (lambda: SHOP(taste=WRONG), r"taste\['text'\]"),
        (lambda: EgoConv(4, 2, math.nan), 'threshold'),
        (lambda: MissingModality('text', rate='0.5'), 'rate'),
        (lambda: NoisyModality('text', scale=math.nan), 'scale'),
        (lambda: ModalityDropout({'text': '0.5'}), "'p' .* for 'text'"),
        (lambda: SoftCrossEntropy(band='0.5'), 'band'),
        (lambda: bootstrap_interval(*ONES, confidence=-1.0), 'confidence'),
        (lambda: bootstrap_interval(*ONES, confidence='95 %'), 'confidence'),
        (lambda: bootstrap_interval(*ONES, resamples=True), 'resamples'),
        (lambda: PictureDownload(timeout=True), 'timeout'),
        (lambda: TextEncoder('any', batch_size=2.0), 'batch_size'),
        (lambda: Live('none', every='3'), 'every'),
        (lambda: Live('none', every=math.inf), 'every'),
        (lambda: Softmax(tau=Fraction(1, 5)), 'tau'),
        (lambda: evaluate(MODEL, DATA, ks=2.0), r"'ks' needs a list .*\[2.0\]"),
        (lambda: PictureDownload(pause=math.nan), 'pause'),
        (lambda: EgoConv(4.0, 2), "'channels' .* 'EgoConv'"),
        (lambda: EgoConv(4, -1), "'num_others' .* at least 0"),
        (lambda: PreferenceRouting(2.0), 'num_iterations'),
        (lambda: Whitening(4, 2.0), 'dim'),
        (lambda: ItemBias(MODEL, num_items=30.0), 'num_items'),
        (lambda: create_app('none', longest=2.0), "'longest' .* 'create_app'"),
        (lambda: degree_changes([], DATA, num_groups=0), 'num_groups'),
        (lambda: LATTICEFolder('none', 'tiny', core=5.0), 'core'),
        (lambda: from_interactions([0], [0], num_users=2.0), 'num_users'),
        (lambda: from_interactions([0], [0], num_items='2'), 'num_items'),
        (
            lambda: Recommendation(MODEL, DATA, batch_size=0),
            "'batch_size' .* 'Recommendation'",
        ),
    ],
)
def test_numbers_of_other_kinds(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_checkpoints_hold_plain_numbers(tmp_path):
    """NumPy's would be refused when they are read."""
    task = Recommendation(
        MODEL, DATA, lr=np.float64(1e-3), batch_size=np.int64(64)
    )
    path = tmp_path / 'last.ckpt'
    numbers = dict(eval_every=np.int64(1), patience=np.int64(3))
    fit(
        task,
        max_epochs=np.int64(1),
        callbacks=SaveLast(path),
        progress=False,
        **numbers,
    )
    again = Recommendation(MODEL, DATA, lr=1e-3, batch_size=64)
    again = fit(
        again,
        max_epochs=2,
        eval_every=1,
        patience=3,
        ckpt_path=path,
        progress=False,
    )
    assert again.lr == 1e-3
    assert type(task.lr) is float
    assert type(task.batch_size) is int


def test_those_of_numpy_are_served():
    served = Served.from_model(MODEL, DATA)
    found = served.recommend([0, 1], k=np.int64(3))
    assert found.items == served.recommend([0, 1], k=3).items
    pytest.importorskip('faiss')
    near = served.approximate(np.int64(8))
    assert len(near.recommend([0], k=3).items[0]) == 3


def test_negatives_of_numpy_are_as_many():
    """It was taken for all items, as it is no ``int``."""
    losses = []
    for negatives in (2, np.int64(2), 'all'):
        task = Recommendation(
            MODEL, DATA, objective=Softmax(negatives=negatives)
        )
        torch.manual_seed(0)
        batch = next(iter(task.train_dataloader()))
        losses.append(float(task.training_step(batch).detach()))
    assert losses[0] == losses[1] != losses[2]
