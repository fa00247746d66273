"""What stands above all sections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments._report.words import listed, plural
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import when

CKD = (
    'Trained on all modalities at once, a recommender may lean on one of them '
    'and leave the others under-trained. Counterfactual knowledge distillation '
    '(CKD) gives each modality a teacher that was trained on it alone, and '
    'lets it teach most where the model, asked what it would do without that '
    'modality, turns out to have learned least from it.'
)
#: What results of one page may have been made with, and how it is written.
MADE_WITH = {
    'pyg_ckd': 'pyg_ckd {}',
    'torch': 'torch {}',
    'torch_geometric': 'PyG {}',
    'pytorch_lightning': 'Lightning {}',
    'numpy': 'NumPy {}',
    'python': 'Python {}',
    'platform': 'on {}',
    'device': 'on {}',
    'threads': 'threads: {}',
}


def subtitle(material: Material) -> str:
    """Return what the results are of."""
    (dataset,) = {result.run.dataset for result in material.results} or {''}
    methods = {method for _, _, method in material.rows}
    seeds = sorted({result.run.seed for result in material.results})
    return (
        f'{plural(len(material.backbones), "recommender")} on the data set '
        f'{dataset}, {plural(len(methods), "method")}, '
        f'{"seeds" if len(seeds) > 1 else "seed"} '
        f'{", ".join(map(str, seeds))}.'
    )


def trained(results: Sequence[Result]) -> str:
    """Return when and at which revision results were made, if it is known."""
    long_ago = datetime.min.replace(tzinfo=timezone.utc)
    dates = [date for r in results if (date := when(r)) > long_ago]
    revisions = values_of(results, 'revision')
    parts = []
    if dates:
        first, last = (f'{d:%Y-%m-%d}' for d in (min(dates), max(dates)))
        parts.append(first if first == last else f'{first} to {last}')
    if revisions:
        word = 'revision' if len(revisions) == 1 else 'revisions'
        parts.append(f'{word} {listed(revisions)} of pyg_ckd')
    return f'Trained {", ".join(parts)}.' if parts else ''


def made_with(results: Sequence[Result]) -> list[str]:
    """Return a sentence on versions and devices, if they are known."""
    parts = [
        form.format(listed(found))
        for name, form in MADE_WITH.items()
        if (found := values_of(results, name))
    ]
    return [f'Made with {", ".join(parts)}.'] if parts else []


def mixed(results: Sequence[Result]) -> list[str]:
    """Return notes on results that were not made alike."""
    notes = []
    versions = sorted({result.run.version for result in results})
    if len(versions) > 1:
        notes.append(
            f'Rows come from versions {listed(versions)} of pyg_ckd. Train '
            f'all with one to compare them.'
        )
    data = sorted({r.run.data for r in results if r.run.data})
    if len(data) > 1:
        notes.append(
            f'Rows come from {len(data)} states of the data set (fingerprints '
            f'{listed(data)}). Those of different ones are not compared.'
        )
    return notes


def values_of(results: Sequence[Result], name: str) -> list[str]:
    """Return the distinct values of a part of environments."""
    found = (result.environment.get(name) for result in results)
    return sorted({str(value) for value in found if value not in (None, '')})
