"""What a single recommendation owes to each modality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import SupportsIndex

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd._shown import Block, Cell, Note, Shown, Table, number
from pyg_ckd.graph import check, modalities, owned_keys
from pyg_ckd.kernels.best_items import scores
from pyg_ckd.nn import as_recommender
from pyg_ckd.nn.door import default_view, matched
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.ranking._rank import embeddings
from pyg_ckd.views import Keep, distinct_views, view_name, without


@dataclass(frozen=True, repr=False)
class Explanation(Shown):
    """The counterfactual of one recommendation, see :func:`explain`.

    ``str(explanation)`` is a table with a sentence below, and so is what a
    notebook shows.

    Args:
        user (int or str): The user.
        item (int): The item.
        name (str): What to call the item.
        score (dict[str, float]): The score in each view by its name, relative
            to the user's mean score over all items in that view.
        rank (dict[str, int]): The rank in each view, 1 for the best.
        effect (dict[str, float]): What each modality adds to the relative
            score.
        num_ranked (int): The number of items that ranks are among.
        known (bool): Whether the user has the item, in training or held out.
    """

    user: int | str
    item: int
    name: str
    score: Mapping[str, float]
    rank: Mapping[str, int]
    effect: Mapping[str, float]
    num_ranked: int
    known: bool

    @property
    def sentence(self) -> str:
        """What the modality that changes the rank most does, in words."""
        names = list(self.effect)
        before = self.rank['full']
        after = {
            name: self.rank[view_name(without(names, name), names)]
            for name in names
        }
        most = max(
            names,
            key=lambda name: (
                abs(after[name] - before),
                abs(self.effect[name]),
            ),
        )
        if after[most] == before:
            return (
                f'Without any one modality, {self.name} would stay at rank '
                f'{before}.'
            )
        verb = 'fall' if after[most] > before else 'rise'
        return (
            f'Without {most}, {self.name} would {verb} from rank {before} to '
            f'rank {after[most]}.'
        )

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        table, *notes = self._shown()
        assert isinstance(table, Table)
        width = max(len(row[0].text) for row in table.rows)
        lines = [
            f'{name.text:<{width}} {score.text:>10} {rank.text:>8}'.rstrip()
            for name, score, rank in [map(Cell, table.head), *table.rows]
        ]
        texts = [note.text for note in notes if isinstance(note, Note)]
        return '\n'.join([table.title, '', *lines, '', *texts])

    def _shown(self) -> Iterator[Block]:
        """Yield the table, the sentence, and a warning if there is one."""
        effect = {f'effect of {m}': value for m, value in self.effect.items()}
        sizes = map(abs, [*self.score.values(), *effect.values()])
        most = max(sizes, default=0)
        rows = [
            [
                Cell(name),
                number(value, '+#.3g', most, signed=True),
                Cell(f'{self.rank[name]}' if name in self.score else ''),
            ]
            for name, value in {**self.score, **effect}.items()
        ]
        yield Table(
            ['view', 'score', 'rank'],
            rows,
            f'User {self.user}, {self.name}, among {self.num_ranked} items',
        )
        yield Note(self.sentence)
        if self.known:
            yield Note(
                f'User {self.user} has it, in training or held out, so that it '
                f'is not recommended; its ranks are what they would be '
                f'otherwise.',
                warns=True,
            )


NOTHING_TO_EXPLAIN_BY = (
    'There is no modality to explain by: the items have none, or the view '
    'that the model was trained in keeps none'
)


def explain(
    model: nn.Module,
    data: HeteroData,
    user: SupportsIndex,
    item: SupportsIndex,
    names: Sequence[str] | None = None,
) -> Explanation:
    r"""Explain one recommendation by what it would be without each modality.

    In a view :math:`v` the score of an item is taken relative to the user's
    mean over all items, so that what is the same for all of them cancels:

    .. math::
        \tilde{s}_v(u, i) = s_v(u, i) - \frac{1}{|\mathcal{I}|} \sum_{j \in
        \mathcal{I}} s_v(u, j)

    and the effect of modality :math:`m` is

    .. math::
        e_m(u, i) = \tilde{s}_{\mathrm{full}}(u, i) -
        \tilde{s}_{\mathrm{without}(m)}(u, i)

    Effects of several modalities need not add up to the score. The rank is
    that among the items which the user does not have, held out ones included,
    as in :func:`~pyg_ckd.ranking.recommend`; equal scores are ordered by lower
    item id. An item that she has is ranked as if she had it not. Of a task
    that was trained in a view, the modalities are those of the view, and it is
    what ``full`` stands for.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``, or a
            task. Embeddings may be sparse (COO) tensors.
        data: The user-item graph.
        user: The id of the user.
        item: The id of the item.
        names: What to call the items, such as their titles; by default their
            ids.

    Raises:
        ValueError: If ``user`` or ``item`` does not exist, ``names`` has not
            one name for each item, the view keeps no modality, or the
            embeddings are not finite.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import FeatureKNN
        >>> data = FakeMultimodal(num_users=200, num_items=100)[0]
        >>> model = FeatureKNN.from_data(data, k=10)
        >>> explanation = explain(model, data, user=7, item=37)
        >>> explanation.rank
        {'full': 3, 'only(image)': 9, 'only(text)': 9}
        >>> print(explanation.sentence)
        Without text, item 37 would fall from rank 3 to rank 9.
    """
    user, item = _id('user', user), _id('item', item)
    trained = default_view(model, check(data))
    model = as_recommender(model)
    data = matched(check(data), model)
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    for label, node, size in (
        ('user', user, num_users),
        ('item', item, num_items),
    ):
        if not 0 <= node < size:
            raise ValueError(
                f"'{label}' needs to be an id from 0 to {size - 1} (got {node})"
            )
    if names is not None and len(names) != num_items:
        raise ValueError(
            f"'names' needs one name for each of {num_items} items (got "
            f'{len(names)})'
        )
    known = [m for m in modalities(data) if m in trained]
    if not known:
        raise ValueError(NOTHING_TO_EXPLAIN_BY)

    keys = owned_keys(data)
    keeps = distinct_views(known)
    row = torch.tensor([user], device=keys.device)
    with evaluating(model):
        pairs = embeddings(model, data, keeps)
        of_views = [scores(*pair, row)[0] for pair in pairs]
    return explanation(
        dict(zip(keeps, of_views, strict=True)),
        known,
        item,
        owned=keys[keys // num_items == user] % num_items,
        user=user,
        called=f'item {item}' if names is None else repr(str(names[item])),
    )


def explanation(
    score_of: Mapping[Keep, Tensor],
    names: Sequence[str],
    item: int,
    *,
    owned: Tensor,
    user: int | str,
    called: str,
) -> Explanation:
    """Return the explanation of one recommendation, by the scores of views.

    Args:
        score_of: The scores of all items for the user in each view that
            :func:`~pyg_ckd.views.distinct_views` names, ``[num_items]``.
        names: The modalities.
        item: The item.
        owned: The items that the user has.
        user: The user, as the explanation calls her.
        called: What the explanation calls the item.
    """
    num_items = len(next(iter(score_of.values())))
    unseen = torch.ones(num_items, dtype=torch.bool, device=owned.device)
    unseen[owned] = False
    is_known = not bool(unseen[item])
    unseen[item] = True
    score, rank = {}, {}
    for keep, of_user in score_of.items():
        of_user = of_user.double()
        view = view_name(keep, names)
        score[view] = float(of_user[item] - of_user.mean())
        rank[view] = _rank(of_user, item, unseen)
    return Explanation(
        user=user,
        item=item,
        name=called,
        score=score,
        rank=rank,
        effect={
            m: score['full'] - score[view_name(without(names, m), names)]
            for m in names
        },
        num_ranked=int(unseen.sum()),
        known=is_known,
    )


def _id(node: str, value: SupportsIndex) -> int:
    try:
        return index(value)
    except TypeError:
        raise TypeError(
            f"'{node}' needs to be an integer id (got {value!r}); "
            f"data['{node}'].name.index(name) is that of a name, if there are "
            f'names'
        ) from None


def _rank(scores: Tensor, item: int, ranked: Tensor) -> int:
    """Return the place of an item among some, 1 for the best."""
    higher = scores > scores[item]
    equal = scores[:item] == scores[item]  # lower ids come first
    return 1 + int(higher[ranked].sum()) + int(equal[ranked[:item]].sum())
