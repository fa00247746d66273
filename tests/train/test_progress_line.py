import io
import re
import sys

import pytest

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
    assert 'VBPR: no evaluation' in capsys.readouterr().err


def test_error(task_of, run, capsys):
    with pytest.raises(ValueError, match='Lower'):
        run(task_of(lr=1e38), progress=True)
    assert 'VBPR: ended by ValueError' in capsys.readouterr().err
