import io
import re
import sys
import warnings

import pytest
import pytorch_lightning as pl

from pyg_ckd.balance import CKD
from pyg_ckd.views import only

pytestmark = pytest.mark.filterwarnings('ignore:Epoch', 'ignore:.*LeafSpec')


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_log(task_of, run, capsys):
    """One line each, at the end, and nothing else."""
    task = run(task_of(CKD()), progress=True, monitor='val_ndcg@20')
    out, err = capsys.readouterr()
    assert out == ''
    lines = err.splitlines()
    assert [line.split(': ')[0] for line in lines] == [
        'VBPR, teacher of only(image)',
        'VBPR, teacher of only(text)',
        'VBPR + CKD',
    ]
    best = max(task.history, key=lambda entry: entry['val_ndcg@20'])
    assert re.fullmatch(
        rf'VBPR \+ CKD: best epoch {best["epoch"]} of 4, validation NDCG@20 '
        rf'{best["val_ndcg@20"]:.4f}, \d+ s',
        lines[-1],
    )


@pytest.mark.parametrize('is_notebook', [False, True])
def test_live(is_notebook, task_of, run, monkeypatch):
    stream = io.StringIO() if is_notebook else Terminal()
    if is_notebook:
        monkeypatch.setitem(sys.modules, 'ipykernel', sys)
    monkeypatch.setattr(sys, 'stderr', stream)
    task = run(task_of(keep=only('text')), max_epochs=30, progress=True)
    *live, last, end = stream.getvalue().split('\n')
    assert end == ''
    assert live == [], 'more than one line'
    updates = [part.strip() for part in last.split('\r') if part.strip()]
    assert updates[-1].startswith('VBPR, only(text): best epoch')
    shown = re.fullmatch(
        r'VBPR, only\(text\): (\d+)/30 epochs, loss (\S+), val recall@20 (\S+) '
        r'\(best (\S+) at (\d+)\), at most \S+ left',
        updates[-2],
    )
    assert shown, updates[-2]
    epoch, loss, value = shown.group(1, 2, 3)
    entry = task.history[int(epoch) - 1]
    # The history is one evaluation, the line one epoch:
    assert f'{entry["loss"]:.4f}' == loss
    assert f'{entry["val_recall@20"]:.4f}' == value


def test_without(task_of, run, capsys):
    run(task_of(), max_epochs=1, progress=False)
    assert capsys.readouterr() == ('', '')


def test_no_evaluation(task_of, run, capsys):
    with pytest.warns(UserWarning, match='before its first evaluation'):
        run(task_of(), max_steps=1, progress=True)
    assert 'VBPR: no evaluation in 1 epoch, ' in capsys.readouterr().err


class Fail(pl.Callback):
    """Fails in an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch + 1 == self.epoch:
            raise RuntimeError


@pytest.mark.parametrize(
    ('epoch', 'eval_every', 'said'),
    [
        (1, 1, ''),
        (3, 1, r'VBPR: ended by RuntimeError, best epoch \d of 2, .*\n'),
        (3, 5, r'VBPR: ended by RuntimeError, no evaluation in 2 epochs, .*\n'),
    ],
)
def test_error(epoch, eval_every, said, task_of, run, capsys):
    kwargs = dict(max_epochs=9, eval_every=eval_every, progress=True)
    with pytest.raises(RuntimeError):
        run(task_of(), callbacks=Fail(epoch), **kwargs)
    assert re.fullmatch(said, capsys.readouterr().err)


def test_warnings_stand_on_lines_of_their_own(task_of, run, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, 'stderr', stream)

    def show(message, category, filename, *args):
        stream.write(f'{filename}: {message}\n')

    monkeypatch.setattr(warnings, 'showwarning', show)
    with warnings.catch_warnings():
        warnings.filterwarnings('always', 'Epoch')
        run(task_of(CKD(strength=1000.0)), max_epochs=3, progress=True)
    signs = [x for x in stream.getvalue().split('\n') if ': Epoch ' in x]
    assert signs
    for sign in signs:
        assert sign.split('\r')[-1].startswith(f'{conftest(run)}: Epoch')


def conftest(run) -> str:
    """The file that calls `fit`."""
    return run.__code__.co_filename
