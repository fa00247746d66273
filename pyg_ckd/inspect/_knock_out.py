"""What a trained model loses without the features of a modality."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd._shown import Block, Cell, Note, Shown, Table, number
from pyg_ckd.graph import RATES, check, modalities
from pyg_ckd.kernels.arguments import as_seed, check_whole
from pyg_ckd.kernels.best_items import scores
from pyg_ckd.kernels.sparse import Uniform
from pyg_ckd.metrics import means
from pyg_ckd.nn import FixedEmbeddings, Recommender, as_recommender
from pyg_ckd.nn.door import default_view, matched
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.ranking import Split, embeddings, rank
from pyg_ckd.views import Keep

#: What features are replaced by.
KINDS = ('noise', 'mean', 'shuffled')
#: The row in which all modalities are replaced at once.
ALL = 'all'
#: A change of recall by no more than this share is none.
HARDLY = 0.02
#: The number of users whose scores are compared.
NUM_COMPARED = 256

Metrics = Mapping[str, float]


@dataclass(frozen=True, repr=False)
class KnockOut(Shown):
    """What :func:`~pyg_ckd.inspect.knock_out` found.

    ``str(found)`` is a table with a sentence for each modality below, and so
    is what a notebook shows.

    Args:
        split (str): Where the metrics were measured, ``val`` or ``test``.
        k (int): The list length of the metrics.
        seed (int): The seed of noise and order.
        base (dict[str, float]): Recall and NDCG with all features as they
            are, by name, such as ``recall@20``.
        rows (dict[str, dict[str, dict[str, float]]]): The same with features
            replaced, by the modality and what replaces it: ``noise``,
            ``mean`` or ``shuffled``. The last modality is ``all``: all of
            them at once.
        depends (dict[str, bool]): Whether any score changes, by the modality,
            with ``all`` as the last.
    """

    split: str
    k: int
    seed: int
    base: Metrics
    rows: Mapping[str, Mapping[str, Metrics]]
    depends: Mapping[str, bool]

    def change(self, modality: str, kind: str, metric: str) -> float | None:
        """Return the relative change of a metric.

        It is :obj:`None` where the metric was zero before.

        Args:
            modality: The modality, or ``all``.
            kind: What replaces it: ``noise``, ``mean`` or ``shuffled``.
            metric: The metric, such as ``recall@20``.
        """
        before = self.base[metric]
        if before == 0:
            return None
        return self.rows[modality][kind][metric] / before - 1

    @property
    def verdict(self) -> dict[str, str]:
        """What recall says about each modality, in words.

        A change by no more than 2% is taken for none.
        """
        return {modality: self._sentence(modality) for modality in self.rows}

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as values that JSON knows."""
        return {**asdict(self), 'verdict': self.verdict}

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        table, *notes = self._shown()
        assert isinstance(table, Table)
        width = max(len(row[0].text) for row in table.rows)
        lines = []
        for i, row in enumerate([[*map(Cell, table.head)], *table.rows]):
            texts = [cell.text for cell in row]
            if i > 0 and table.repeats(i - 1, 0):
                texts[0] = ''
            line = f'{texts[0]:<{width}}  {texts[1]:<11}'
            for text, size in zip(texts[2:], cycle([10, 8]), strict=False):
                line += f' {text:>{size}}'
            lines.append(line.rstrip())
        texts = [note.text for note in notes if isinstance(note, Note)]
        return '\n'.join([table.title, '', *lines, '', *texts])

    def _shown(self) -> Iterator[Block]:
        """Yield the table, and a sentence for each modality."""
        head, first = ['modality', 'replaced by'], [Cell('untouched'), Cell('')]
        for metric, value in self.base.items():
            head += [metric, 'change']
            first += [Cell(f'{value:.4f}'), Cell('')]
        rows = [first]
        for modality, row in self.rows.items():
            for kind, values in row.items():
                cells = [Cell(modality), Cell(kind)]
                for metric in self.base:
                    change = self.change(modality, kind, metric)
                    cells += [
                        Cell(f'{values[metric]:.4f}'),
                        Cell('-')
                        if change is None
                        else number(change, '+.1%', 1, signed=True),
                    ]
                rows.append(cells)
        yield Table(
            head,
            rows,
            f"Features replaced, '{self.split}' split, seed {self.seed}",
            words=(0, 1),
            merged=1,
        )
        for sentence in self.verdict.values():
            yield Note(sentence)

    def _sentence(self, modality: str) -> str:
        recall = f'recall@{self.k}'
        name, of = modality, f"data['item'].x_{modality}"
        if modality == ALL:
            name, of = 'all together', 'the features of the data'
        if not self.depends[modality]:
            return (
                f'{name}: no score depends on {of}. The model does not use '
                f'these features, or has a copy of its own, which is out of '
                f'reach here.'
            )
        if self.base[recall] == 0:
            return f'{name}: scores change, but {recall} is zero as it is.'
        noise, none, shuffled = (
            self.change(modality, kind, recall) or 0.0 for kind in KINDS
        )
        most = max(abs(noise), abs(none), abs(shuffled))
        if most <= HARDLY:
            return (
                f'{name}: hardly used. {recall} changes by no more than '
                f'{most:.1%}.'
            )
        if none > HARDLY:
            use = 'used, but better left out'
        elif none < -HARDLY:
            use = 'used, to its advantage'
        else:
            use = 'used, but of no advantage'
        return (
            f'{name}: {use}. {recall} changes by {min(noise, shuffled):+.1%} '
            f'to {max(noise, shuffled):+.1%} with features that are wrong, by '
            f'{none:+.1%} with none.'
        )


def knock_out(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'val',
    *,
    k: int = 20,
    seed: int = 0,
) -> KnockOut:
    r"""Find out what a trained model loses without each modality.

    The features of a modality are replaced, nothing is trained again, and
    Recall@K and NDCG@K are measured anew; then those of all modalities at
    once. With the means :math:`\boldsymbol{\mu}` and (population) standard
    deviations :math:`\boldsymbol{\sigma}` of the features, item :math:`i` gets

    - ``"noise"``: :math:`\boldsymbol{\mu} + \boldsymbol{\sigma} \odot
      \boldsymbol{\varepsilon}_i` with :math:`\boldsymbol{\varepsilon}_i \sim
      \mathcal{N}(\mathbf{0}, \mathbf{I})`;
    - ``"mean"``: :math:`\boldsymbol{\mu}`;
    - ``"shuffled"``: the features of another item, in one random order of the
      items for all modalities.

    Noise and shuffled features are wrong ones: what they do to the metrics
    tells whether the model uses the modality. The mean is the same for all
    items, which is as good as no features: what it does tells whether their
    use is to the model's advantage. A model can use a modality, and be better
    without. Items that lack the modality, by ``data['item'].has_<modality>``,
    neither change nor count.

    Graphs in ``data.graphs`` that are made of features are made again of the
    other ones, by :attr:`~pyg_ckd.nn.Recommender.neighbors` and
    :attr:`~pyg_ckd.nn.Recommender.pre_transform` of the model and of those
    inside it; for ``"mean"`` they are :class:`~pyg_ckd.kernels.Uniform`, as
    in :class:`~pyg_ckd.transforms.AblateModality`. One that the model does
    not say how to make is left out. What else was made of features stays as
    it is: copies and graphs that the model holds itself, other edges of the
    data, and parameters, such as offsets that were learned for each item.
    :attr:`KnockOut.depends` tells where no score changes at all; those of up
    to 256 users are compared, and a change of the size of rounding errors is
    none.

    A model that draws random numbers in evaluation draws the same ones each
    time. Data, model and global random numbers are left as they were.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``,
            trained.
        data: The user-item graph.
        split: Where metrics are measured, ``"val"`` or ``"test"``.
        k: The list length :math:`K` of the metrics.
        seed: The seed of noise and order.

    Raises:
        ValueError: If ``split``, ``k`` or ``seed`` is not valid, the items have
            no modality or one named ``all``, no item has a modality, or the
            model fails on other features or without a graph that was left out.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import FeatureKNN
        >>> data = FakeMultimodal(num_users=200, num_items=100)[0]
        >>> model = FeatureKNN.from_data(data, use=['text'], k=10)
        >>> found = knock_out(model, data)
        >>> found.depends
        {'image': False, 'text': True, 'all': True}
        >>> print(found.verdict['text'].split('.')[0])
        text: used, to its advantage
    """
    if split not in ('val', 'test'):
        raise ValueError(f"'split' needs to be 'val' or 'test' (got '{split}')")
    check_whole('knock_out', k=k)
    seed = as_seed('knock_out', seed)
    recommender = as_recommender(model)
    data = matched(check(data, splits=(split,)), recommender)
    names = modalities(data)
    if not names:
        raise ValueError('The items have no modality to knock out')
    if ALL in names:
        raise ValueError(
            f"'knock_out' calls all modalities together '{ALL}': rename "
            f"data['item'].x_{ALL}"
        )
    keep = default_view(model, data)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(data['item'].num_nodes, generator=generator)
    active = data[RATES].edge_index[0].unique()
    user = torch.randperm(len(active), generator=generator)[:NUM_COMPARED]
    user = active[user.to(active.device)]

    def look(seen: HeteroData) -> tuple[dict[str, float], Tensor]:
        """Return the metrics, and the scores of some users."""
        torch.manual_seed(seed)
        pair = next(embeddings(recommender, seen, [keep]))
        ranking = rank(FixedEmbeddings(*pair), data, split, k)
        metrics = means(ranking, (k,), ('recall', 'ndcg'))
        return metrics, scores(*pair, user)

    hidden = {m: [m] for m in names} | {ALL: names}
    rows: dict[str, dict[str, Metrics]] = {row: {} for row in hidden}
    depends = dict.fromkeys(hidden, False)
    gpus = range(torch.cuda.device_count())
    with (
        torch.random.fork_rng(gpus),
        evaluating(recommender),
        _same_buffers(recommender),
    ):
        base, score = look(data)
        for kind in KINDS:
            other = _replaced(recommender, data, kind, order, generator)
            for row, dropped in hidden.items():
                # A view that the model was trained in ablates the rest:
                seen = _mixed(data, other, keep & set(dropped))
                what = f"{kind} in place of '{row}'"
                with _naming(recommender, what, data, seen):
                    rows[row][kind], changed = look(seen)
                depends[row] |= _differ(score, changed)
    return KnockOut(split, k, seed, base, rows, depends)


def _replaced(
    recommender: Recommender,
    data: HeteroData,
    kind: str,
    order: Tensor,
    generator: torch.Generator,
) -> HeteroData:
    """Return the graph with all features replaced, and graphs of these."""
    other = copy.copy(data)
    for m in modalities(data):
        x = data['item'][f'x_{m}']
        has = data['item'].get(f'has_{m}')
        if has is None:
            has = torch.ones(len(x), dtype=torch.bool, device=x.device)
        if not has.any():
            raise ValueError(
                f"'knock_out' found no item that has '{m}': remove "
                f"data['item'].x_{m}"
            )
        std, mean = torch.std_mean(x[has], dim=0, correction=0)
        if kind == 'noise':
            noise = torch.randn(x.shape, generator=generator).to(x)
            new = mean + std * noise
        elif kind == 'mean':
            new = mean.expand_as(x)
        else:
            source = order.to(has.device)
            new = x.clone()
            new[has] = x[source[has[source]]]
        other['item'][f'x_{m}'] = torch.where(has.unsqueeze(1), new, x)

    if 'graphs' in data:
        made = {key for key in data.graphs if key[1] is not None}
        if kind == 'mean':
            other.graphs = {key: Uniform(len(order)) for key in made}
        else:
            other.graphs = {}
            other = _with_graphs(recommender, other, made)
    return other


def _with_graphs(
    recommender: Recommender,
    data: HeteroData,
    wanted: Collection[tuple[str, str]],
) -> HeteroData:
    """Make those of some graphs that a recommender says how to make."""
    for part in recommender.modules():
        if not isinstance(part, Recommender):
            continue
        for transform in (part.neighbors, part.pre_transform):
            if transform is not None and not data.graphs.keys() >= set(wanted):
                data = transform(data)
    return data


def _mixed(data: HeteroData, other: HeteroData, dropped: Keep) -> HeteroData:
    """Return the graph with some modalities from another one."""
    seen = copy.copy(data)
    for m in dropped:
        seen['item'][f'x_{m}'] = other['item'][f'x_{m}']
    if 'graphs' in data:
        # A graph of several modalities would tell of those that are dropped:
        kept = {None, *modalities(data)} - dropped
        seen.graphs = {
            key: graph
            for source, wanted in ((data, kept), (other, dropped))
            for key, graph in source.graphs.items()
            if key[1] in wanted
        }
    return seen


def _differ(score: Tensor, other: Tensor) -> bool:
    """Return whether scores differ by more than a constant for each user."""
    score, other = score.double(), other.double()
    size = torch.maximum(score.abs(), other.abs()).amax(dim=1)
    change = other - score
    change = change - change.mean(dim=1, keepdim=True)
    return bool((change.abs().amax(dim=1) > 1e-6 * size).any())


@contextmanager
def _same_buffers(module: nn.Module) -> Iterator[None]:
    """Put copies in the place of buffers, for a while."""
    before = [
        (part, name, buffer)
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    copies = {id(buffer): buffer.clone() for _, _, buffer in before}
    try:
        for part, name, buffer in before:
            setattr(part, name, copies[id(buffer)])
        yield
    finally:
        for part, name, buffer in before:
            setattr(part, name, buffer)


@contextmanager
def _naming(
    recommender: Recommender, what: str, data: HeteroData, seen: HeteroData
) -> Iterator[None]:
    """Tell what was replaced when a model fails, and what it may lack."""
    try:
        yield
    except (LookupError, ValueError) as error:
        message = f'{recommender.name} fails with {what}: {error}'
        lost = [
            f"{name} of '{modality}'"
            for name, modality in (data.graphs if 'graphs' in data else ())
            if (name, modality) not in seen.graphs
        ]
        if lost:
            message += (
                f'. {" and ".join(lost)} was left out, as the true features '
                f'made it, and the model does not say how to make it again: '
                f"let the model be a 'pyg_ckd.nn.Recommender' with the "
                f"transform as its 'neighbors' or 'pre_transform'"
            )
        raise ValueError(message) from error
