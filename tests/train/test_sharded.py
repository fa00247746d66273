"""Two processes with half of the rows each train what one does with all.

The file is its own script: the tests run it by torchrun.
"""

import os
import sys
import warnings
from functools import partial
from itertools import chain
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
import torch_geometric.typing
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning.callbacks import StochasticWeightAveraging

from pyg_ckd.balance import CKD, OGMGE, RCEKD, SoftCrossEntropy, Teacher
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.kernels import Ranks
from pyg_ckd.nn import FREEDOM, VBPR, Cosine, LightGCN, Sampled
from pyg_ckd.nn.row_shards import Lookup, RowShards
from pyg_ckd.nn.sharded import Sharded
from pyg_ckd.objectives import Softmax
from pyg_ckd.ranking import evaluate, recommend
from pyg_ckd.serving import load
from pyg_ckd.testing import PlainRecommender
from pyg_ckd.train import Recommendation, SaveLast, ShardedTables, fit
from pyg_ckd.transforms import NormalizedAdjacency
from pyg_ckd.triplet_loader import TripletLoader
from pyg_ckd.views import only

LOOPS = NormalizedAdjacency('row', add_self_loops=True)
#: The two processes have different numbers of items.
DATA = LOOPS(
    LightGCN.pre_transform(
        FakeMultimodal(num_users=40, num_items=61, num_channels=5)[0]
    )
)
BATCH = 45
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using 'NeighborSampler' without:UserWarning",
    'ignore:.*of the gradient comes from distillation:UserWarning',
)
HAS_SAMPLER = (
    torch_geometric.typing.WITH_PYG_LIB
    or torch_geometric.typing.WITH_TORCH_SPARSE
)
TABLES = {'user', 'item', 'preference'}


def teachers():
    generator = torch.Generator().manual_seed(3)
    return {
        only(m): Teacher.from_embeddings(
            torch.randn(40, 4, generator=generator),
            torch.randn(61, 4, generator=generator),
            DATA,
        )
        for m in ('image', 'text')
    }


def ckd(teachers=None, gate=False):
    """Draw groups of which each of the processes has as many."""
    on_random = SoftCrossEntropy(group_size=4)
    return CKD(teachers, 0.5, on_random=on_random, gate=gate)


def vbpr(**kwargs):
    return VBPR.from_data(DATA, dim=4, **kwargs)


def light_gcn():
    model = LightGCN.from_data(DATA, dim=4)
    return Sampled(model, num_neighbors=[-1, -1])


def with_loops():
    model = light_gcn()
    model.adjacency = LOOPS
    return model


def drawn_at_last():
    """Make a model whose tables are drawn as those of one on `meta` are."""
    model = vbpr()
    if not model.user.weight.is_meta:
        torch.manual_seed(0)
        model.reset_parameters()
    return model


#: The model and the balance of each case.
CASES = {
    'vbpr': (vbpr, lambda: None),
    'ids': (lambda: vbpr(use=[]), lambda: None),
    'meta': (drawn_at_last, lambda: None),
    'taught': (vbpr, lambda: ckd(teachers(), gate=True)),
    'teachers': (vbpr, ckd),
    'light_gcn': (with_loops, lambda: None),
    'light_gcn taught': (light_gcn, lambda: ckd(teachers())),
}
if not HAS_SAMPLER:
    del CASES['light_gcn'], CASES['light_gcn taught']
#: Further arguments of the task, and of `fit`.
SETTINGS = {
    'vbpr': ({}, {'patience': 0, 'eval_every': 1, 'max_epochs': 30}),
    'ids': ({'sampling': 'user'}, {'accumulate_grad_batches': 2}),
    'teachers': ({}, {'max_epochs': 4}),
    'light_gcn': ({'keep': only('text')}, {}),
}


class OfBoth:
    """The batches of two processes as one."""

    def __init__(self, data, sampling):
        self.loaders = [
            TripletLoader(data, BATCH, sampling, Ranks(place, 2))
            for place in range(2)
        ]
        self.sample = self.loaders[0].sample

    def __len__(self):
        return len(self.loaders[0])

    def __iter__(self):
        state = torch.get_rng_state()
        parts = []
        for loader in self.loaders:
            torch.set_rng_state(state)
            parts.append(list(loader))
        for one, other in zip(*parts, strict=True):
            yield tuple(map(torch.cat, zip(one, other, strict=True)))


def together():
    return {'accelerator': 'cpu', 'devices': 2, 'strategy': ShardedTables()}


def trained(case, apart, **kwargs):
    """Train two batches at a time, by two processes or by one."""
    of_task, of_fit = SETTINGS.get(case, ({}, {}))
    make, balance = CASES[case]
    torch.manual_seed(99 if apart and rank() > 0 else 0)  # of no influence
    with torch.device('meta' if apart and case == 'meta' else 'cpu'):
        model = make()
    task = Recommendation(
        model,
        DATA,
        balance=balance(),
        lr=0.02,
        batch_size=BATCH if apart else 2 * BATCH,
        **of_task,
    )
    return fit(
        task,
        precision='64-true',
        progress=False,
        **{'max_epochs': 3, 'eval_every': 2, **of_fit, **kwargs},
        **(together() if apart else {}),
    )


def of_one(case):
    """Train by one process with whole tables, and twice the batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Recommendation,
            'train_dataloader',
            lambda task: OfBoth(task.data, task.sampling),
        )
        return trained(case, apart=False)


def rank():
    return int(os.environ.get('RANK', 0))


def result(task):
    """Return the history, the whole weights, and what a process has of them."""
    whole = task.recommender.gathered()
    adam = task.trainer.optimizers[0].state
    return {
        'history': task.history,
        'weights': None if whole is None else whole.state_dict(),
        'rows': {
            name: [len(p), len(adam[p]['exp_avg']), len(adam[p]['exp_avg_sq'])]
            for name, p in task.recommender.backbone.named_parameters()
            if name.split('.')[0] in TABLES
        },
    }


def lookups():
    """Return rows, means and gradients of a table that two processes share."""
    shards = RowShards(7, Ranks(rank(), 2))
    whole = torch.arange(14.0).view(7, 2)
    own = whole[shards.own].clone().requires_grad_()
    index = [torch.tensor([6, 0, 3, 6]), torch.tensor([5, 5])][rank()]
    weight = torch.arange(2.0 * len(index)).view(-1, 2) + rank()
    lookup = Lookup(shards)
    rows = lookup.rows(own, index)
    none = lookup.rows(own, index[:0])
    mean = shards.mean(own)
    ((rows * weight).sum() + none.sum() + (rank() + 1) * mean.sum()).backward()
    return {
        'index': index,
        'weight': weight,
        'rows': rows.detach(),
        'none': none.detach(),
        'mean': mean.detach(),
        'grad': own.grad,
        'whole': shards.whole(own.detach()),
        'gathered': shards.gathered(own.detach()),
    }


class Stops(pl.Callback):
    """Ends training after its second epoch."""

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch == 1


def error_of(function):
    try:
        function()
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return None


def main():
    warnings.simplefilter('ignore')
    folder = Path(sys.argv[1])
    path = folder / 'last.ckpt'
    dist.init_process_group('gloo')
    found = {'lookups': lookups()}
    for case in CASES:
        task = trained(case, apart=True)
        found[case] = result(task)
        if case in ('taught', 'light_gcn'):
            task.save(folder / case)
        if case == 'vbpr':
            (validated,) = task.trainer.validate(task, verbose=False)
            found['validated'] = validated, result(task), task.best_epoch
    trained('teachers', apart=True, callbacks=[SaveLast(path), Stops()])
    dist.barrier()  # until both files are there
    resume = partial(trained, 'teachers', apart=True, ckpt_path=path)
    found['resumed'] = result(resume())
    own = folder / ['last.ckpt', 'last.ckpt.1'][rank()]
    state = torch.load(own, weights_only=True)
    if rank() == 1:
        torch.save({**state, 'global_step': 1}, own)
    dist.barrier()
    found['mixed'] = error_of(resume)
    if rank() == 1:
        own.unlink()
    dist.barrier()
    found['missing'] = error_of(resume)
    found['recommend'] = error_of(lambda: task.recommend(3))
    found['evaluate'] = error_of(lambda: evaluate(task, DATA))
    found['ddp'] = error_of(lambda: fit(task, devices=2, strategy='ddp'))
    torch.save(found, folder / f'{rank()}.pt')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('sharded')


@pytest.fixture(scope='module')
def run(start, folder):
    """Return what two processes have found."""
    done = start(__file__, folder, folder=folder, together=True)
    assert done.returncode == 0, done.stderr
    return [
        torch.load(folder / f'{place}.pt', weights_only=True)
        for place in range(2)
    ]


def numbers(history):
    """Return the values of evaluations, without what one process adds."""
    return [
        {k: x for k, x in entry.items() if k != 'gradient_share'}
        for entry in history
    ]


@pytest.mark.parametrize('case', CASES)
def test_as_one_process(case, run):
    """Weights, losses and metrics, and when training stops."""
    first, second = (found[case] for found in run)
    task = of_one(case)
    expected = numbers(task.history)
    assert first['history'] == second['history']
    assert len(first['history']) == len(expected) > 0
    for one, other in zip(first['history'], expected, strict=True):
        assert one == pytest.approx(other, rel=1e-7)
    torch.testing.assert_close(
        first['weights'],
        task.recommender.state_dict(),
        rtol=1e-6,
        atol=1e-8,
    )


def test_lookups(run):
    """Rows, means and gradients are those of the whole table."""
    table = torch.arange(14.0).view(7, 2).requires_grad_()
    loss = 0.0
    for place, found in enumerate(each['lookups'] for each in run):
        rows = table[found['index']]
        assert torch.equal(found['rows'], rows)
        assert found['none'].shape == (0, 2)
        assert torch.equal(found['mean'], table.mean(0, keepdim=True))
        assert torch.equal(found['whole'], table)
        loss = loss + (rows * found['weight']).sum() / 2
        loss = loss + (place + 1) * table.mean(0).sum() / 2
    loss.backward()
    first, second = (each['lookups'] for each in run)
    assert torch.equal(first['gathered'], table)
    assert second['gathered'] is None
    own = torch.cat([first['grad'], second['grad']])
    torch.testing.assert_close(own, table.grad)


def test_each_has_a_half(run):
    """Of tables and of both states of Adam, in rows."""
    for case in CASES:
        for found, users, items in zip(run, (20, 20), (30, 31), strict=True):
            assert found[case]['rows']
            for name, heights in found[case]['rows'].items():
                height = items if name.startswith('item') else users
                assert heights == [height] * 3


def test_stops_before_the_last_epoch(run):
    assert 1 < len(run[0]['vbpr']['history']) < 30


def test_validation_leaves_the_rows(run):
    """Lightning makes weights the same before it, but not these."""
    for found in run:
        values, _, best = found['validated']
        entry = found['vbpr']['history'][best - 1]
        for name, value in values.items():
            assert value == pytest.approx(entry[name], rel=1e-6)
    after, before = (
        found['weights'] for found in (run[0]['validated'][1], run[0]['vbpr'])
    )
    for name, weight in before.items():
        assert torch.equal(after[name].float(), weight)


def test_resumed(run):
    """The same as what was never disturbed, with teachers, to the last bit."""
    for found in run:
        history = found['teachers']['history']
        assert [entry['epoch'] for entry in history] == [2, 4]
        assert found['resumed']['history'] == history
    torch.testing.assert_close(
        run[0]['resumed']['weights'],
        run[0]['teachers']['weights'],
        rtol=0,
        atol=0,
    )


def test_checkpoints_belong_together(run):
    for found in run:
        for name, reason in (
            ('mixed', 'process 1 is of another moment'),
            ('missing', 'process 1 is missing or cut off'),
        ):
            assert found[name].startswith("ValueError: 'ckpt_path' needs")
            assert reason in found[name]


@pytest.mark.parametrize('case', ['taught', 'light_gcn'])
def test_saved_to_be_served(case, run, folder):
    """What is served is what one process with these weights says."""
    if case not in CASES:
        pytest.skip('needs pyg-lib or torch-sparse')
    model = CASES[case][0]()
    model.load_state_dict(run[0][case]['weights'])
    trained_in = SETTINGS.get(case, ({}, {}))[0].get('keep')
    served = load(folder / case)
    found = served.recommend([3, 39], k=5, view=only('text'))
    item, score = recommend(model, DATA, [3, 39], k=5, view=only('text'))
    assert [list(x) for x in found.items] == item.tolist()
    torch.testing.assert_close(torch.tensor(found.scores), score)
    expected = evaluate(model, DATA, 'val', view=trained_in)
    assert served.about['metrics'] == pytest.approx(expected, rel=1e-5)


def test_whole_tables_are_nowhere(run):
    for found in run:
        for name in ('recommend', 'evaluate'):
            assert 'are cut by rows among 2 processes' in found[name]
            assert 'task.save(folder) in all' in found[name]
        assert "'strategy' needs to be ShardedTables()" in found['ddp']


@pytest.mark.parametrize(
    ('make', 'reason'),
    [
        (lambda: LightGCN.from_data(DATA), 'Sampled'),
        (lambda: FREEDOM.from_data(DATA, prune=0.0), "'FREEDOM' cannot"),
        (lambda: Cosine(vbpr()), r"'Cosine\(VBPR\)' cannot"),
        (lambda: PlainRecommender(DATA), "'PlainRecommender' cannot"),
    ],
)
def test_models_that_are_refused(make, reason):
    with pytest.raises(ValueError, match=f'tables of .*{reason}'):
        Sharded(make())


@pytest.mark.parametrize(
    ('of_task', 'of_fit', 'reason'),
    [
        ({'objective': Softmax()}, {}, "'objective' needs to be BPR"),
        ({'balance': OGMGE()}, {}, "'balance' needs to be CKD"),
        ({'balance': CKD(on_random=RCEKD())}, {}, "'on_random' needs"),
        (
            {'balance': CKD(on_random=SoftCrossEntropy(relative=True))},
            {},
            "'on_random' needs",
        ),
        ({}, {'gradient_clip_val': 0.1}, "'gradient_clip_val' needs"),
        ({}, {'warm_start': 'folder'}, "'warm_start' needs whole tables"),
        (
            {},
            {'callbacks': StochasticWeightAveraging(0.1)},
            "'callbacks' cannot have StochasticWeightAveraging",
        ),
    ],
)
def test_options_that_are_refused(of_task, of_fit, reason):
    task = Recommendation(vbpr(), DATA, **of_task)
    with pytest.raises(ValueError, match=reason):
        fit(task, **together(), **of_fit)


def test_a_model_without_rows_needs_the_strategy():
    with torch.device('meta'):
        model = vbpr()
    with pytest.raises(ValueError, match=r'needs to be ShardedTables\(\)'):
        fit(Recommendation(model, DATA))


def test_a_model_without_rows_needs_all_modalities():
    with torch.device('meta'):
        model = vbpr(use=['text'])
    with pytest.raises(ValueError, match="no parameters of 'image'"):
        Recommendation(model, DATA, balance=CKD())


def test_more_processes_than_rows():
    with pytest.raises(ValueError, match='3 processes cannot share the 2 rows'):
        RowShards(2, Ranks(1, 3))


@given(st.integers(1, 9), st.integers(0, 30))
def test_rows_are_shared_out(size, more):
    """Each row to one process, and to each as many but for one."""
    shards = [RowShards(size + more, Ranks(r, size)) for r in range(size)]
    rows = [list(range(size + more))[one.own] for one in shards]
    assert list(chain(*rows)) == list(range(size + more))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


if __name__ == '__main__':
    main()
