"""Runs and what came out of them, in words."""

from __future__ import annotations

from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.run import Run


def outcome(result: Result) -> str:
    """Return what came out of a run, to follow its name."""
    if result.error:
        return f' failed: {" ".join(result.error.splitlines())}'
    name = monitor(result.run)
    best = max(
        (entry[name] for entry in result.history if name in entry),
        default=result.val.get(name.removeprefix('val_')),
    )
    parts = [duration(result.seconds)]
    if best is not None:
        text = f'{title(name)} {best:.4f}'
        if result.epochs:
            text += f' at epoch {result.best_epoch} of {result.epochs}'
        parts.insert(0, text)
    return f': {", ".join(parts)}'


def monitor(run: Run) -> str:
    """Return the validation metric that a run is selected by."""
    name: str = run.settings.get('fit', {}).get('monitor', 'val_recall@20')
    return name


def title(metric: str) -> str:
    """Return how people write a metric of validation.

    Example:
        >>> title('val_recall@20'), title('val_only(text)_ndcg@10')
        ('validation Recall@20', 'validation only(text) NDCG@10')
    """
    return (
        metric.replace('val_', 'validation ', 1)
        .replace('_', ' ')
        .replace('recall', 'Recall')
        .replace('ndcg', 'NDCG')
    )


def number_of(count: int, noun: str) -> str:
    """Return a number of things in words.

    Example:
        >>> number_of(1, 'cell'), number_of(2, 'cell')
        ('1 cell', '2 cells')
    """
    return f'{count} {noun}' if count == 1 else f'{count} {noun}s'


def duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> duration(4.2), duration(65), duration(7260)
        ('4 s', '1 min 5 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours} h {minutes} min'
    return f'{minutes} min {rest} s' if minutes else f'{rest} s'
