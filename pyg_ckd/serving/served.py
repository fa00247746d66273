"""Saved models, ready to serve."""

from __future__ import annotations

import copy
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, check, fingerprint, modalities, owned_keys
from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.kernels.best_items import best_items, scores
from pyg_ckd.kernels.topk import stable_topk
from pyg_ckd.nn.door import (
    as_recommender,
    check_finite,
    checked_embeddings,
    default_view,
    matched,
)
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.ranking._explain import (
    NOTHING_TO_EXPLAIN_BY,
    Explanation,
    explanation,
)
from pyg_ckd.serving._names import Name, Names, listed, names_of
from pyg_ckd.serving._views_file import tensors_of, views_of
from pyg_ckd.serving.faiss_index import FaissIndex
from pyg_ckd.serving.item_weights import ItemWeights
from pyg_ckd.serving.linear_map import LinearMap
from pyg_ckd.serving.recommendations import Recommendations
from pyg_ckd.views import Keep, Views, distinct_views, view_name


class Served:
    r"""A saved model, ready to serve.

    It holds the final embeddings of all views, so that nothing is propagated:
    the score of a user and an item is a product of two rows. Users and items
    are called as in the data, by ``data['user'].name`` and
    ``data['item'].name``, or where there are no names by their ``original_id``,
    the numbers in the files, or else by those in the graph.

    It does not change, and may be asked by several threads at once.

    Args:
        views (Views): The embeddings of the views, the trained one first.
        keeps (list[frozenset[str]]): The views, each a set of modalities.
        modalities (dict[str, Tensor]): The modalities of the items, and which
            items have it, Booleans ``[num_items]``; :obj:`None` where all do.
        known (Tensor): Sorted keys ``user * num_items + item`` of what users
            have, each once.
        untrained (Tensor): The sorted rows of users without any interaction in
            training. They are embedded by :meth:`fold_in`, from what was held
            out, and those who have nothing like the mean user.
        users (Names): What users are called.
        items (Names): What items are called.
        titles (list[str], optional): What people call the items.
            (default: :obj:`None`)
        about (dict, optional): What else is known of the model, such as its
            ``name``, metrics and versions. (default: :obj:`{}`)

    Raises:
        ValueError: If there is not a title for each item.

    Example:
        >>> from pyg_ckd import from_interactions
        >>> from pyg_ckd.nn import Popularity
        >>> data = from_interactions(
        ...     ['ann', 'ann', 'bob', 'eve'], ['tea', 'cup', 'tea', 'pot'],
        ...     split=['train', 'train', 'train', 'train'])
        >>> served = Served.from_model(Popularity.from_data(data), data)
        >>> served.recommend(['bob', 'eve'], k=2)
        user  rank  item   score
        bob      1  cup   1.0000
                 2  pot   1.0000
        eve      1  tea   2.0000
                 2  cup   1.0000
    """

    def __init__(
        self,
        views: Views,
        keeps: Sequence[Keep],
        modalities: Mapping[str, Tensor | None],
        known: Tensor,
        untrained: Tensor,
        users: Names,
        items: Names,
        titles: Sequence[str] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.views, self.keeps = views, list(keeps)
        if titles is not None and len(titles) != items.size:
            raise ValueError(
                f'There are {len(titles)} titles for {items.size} items'
            )
        for row, title in enumerate(titles or ()):
            if not isinstance(title, str):
                raise ValueError(f'Title {row} is no text (got {title!r})')
        self.modalities = list(modalities)
        self.has = {m: x for m, x in modalities.items() if x is not None}
        self.known, self.untrained = known, untrained
        self.users, self.items = users, items
        self.titles = None if titles is None else list(titles)
        self.about = dict(about or {})
        #: What finds the best items of the trained view without looking at all.
        self.index: FaissIndex | None = None
        self._sides: dict[int, _Items] = {}
        self._maps: dict[int, LinearMap | ItemWeights] = {}
        self._lock = threading.Lock()

    def approximate(self, probe: int = 32) -> Served:
        """Return the same with an approximate index of the trained view.

        Other views, and requests with candidates, stay exact. Lists may be
        shorter than ``k`` where too few items are in the cells searched.

        Args:
            probe: See :class:`FaissIndex`.

        Raises:
            ImportError: If ``faiss`` is missing.
        """
        other = copy.copy(self)
        other.index = FaissIndex(self._side(0).item, probe)
        return other

    @classmethod
    def from_model(cls, model: nn.Module, data: HeteroData) -> Served:
        """Return what serves a model, without saving it.

        Args:
            model: Any recommender with ``user_emb, item_emb = model(data)``,
                or a task.
            data: The data it was trained on.

        Raises:
            ValueError: If the embeddings are not finite, or names do not fit.
        """
        data = check(data)
        names = modalities(data)
        keep = default_view(model, data)
        own = distinct_views([m for m in names if m in keep])
        keeps = list(dict.fromkeys([keep, *own, *distinct_views(names)]))
        recommender = as_recommender(model)
        moved = matched(data, recommender)
        with evaluating(recommender):
            views = recommender.views(moved, keeps)
            for place, each in enumerate(keeps):
                label = f'{recommender.name} in {view_name(each, names)}'
                pair = checked_embeddings(views.embedding(place), moved, label)
                check_finite(*pair, label)
            tensors = tensors_of(views)
        users, items = (
            Names(node, data[node].num_nodes, names_of(data, node))
            for node in ('user', 'item')
        )
        return cls(
            views_of(tensors, users.size, items.size, len(keeps)),
            keeps,
            {m: data['item'].get(f'has_{m}') for m in names},
            owned_keys(data).cpu(),
            untrained_users(data),
            users,
            items,
            data['item'].get('title'),
            about={'data': fingerprint(data), 'name': recommender.name},
        )

    def recommend(
        self,
        users: Sequence[Name],
        k: int = 10,
        *,
        candidates: Iterable[Name] | None = None,
        exclude_known: bool = True,
        view: str | Keep | None = None,
    ) -> Recommendations:
        """Return the best items of some users.

        Args:
            users: Whom for.
            k: How many items for each.
            candidates: The only items that may be recommended; all by default.
            exclude_known: Whether items that a user has are left out.
            view: What to look at, by its name, such as ``'only(text)'``, or the
                set of modalities to keep; those the model was trained with by
                default.

        Raises:
            ValueError: If a user, an item or a view is unknown, or ``k`` is
                not positive.
        """
        if isinstance(users, str | int):
            raise TypeError(f"'users' needs to be a list, such as [{users!r}]")
        users = list(listed(users))
        rows = self.users.rows(users)
        known = self._known_of(rows) if exclude_known else self.known[:0]
        place = self._place(view)
        user_emb = self._users(place, rows)
        found = self._best(user_emb, k, known, candidates, place)
        return Recommendations(users, *found)

    def recommend_new(
        self,
        histories: Sequence[Sequence[Name]],
        k: int = 10,
        *,
        candidates: Iterable[Name] | None = None,
        exclude_known: bool = True,
        view: str | Keep | None = None,
    ) -> Recommendations:
        """Return the best items for people who are no users yet.

        Their embeddings are those of :meth:`fold_in`.

        Args:
            histories: For each of them the items that she has, at least one.
            k: See :meth:`recommend`.
            candidates: See :meth:`recommend`.
            exclude_known: Whether these items are left out.
            view: See :meth:`recommend`.

        Returns:
            The users are numbers, counted from 0.

        Raises:
            ValueError: See :meth:`recommend`; or if a history is empty.
        """
        place = self._place(view)
        rows = [self._history(history) for history in histories]
        user_emb = self._folded(place, rows)
        size = self.items.size
        keys = [row.unique() + n * size for n, row in enumerate(rows)]
        known = torch.cat(keys) if keys and exclude_known else self.known[:0]
        found = self._best(user_emb, k, known, candidates, place)
        return Recommendations(list(range(len(rows))), *found)

    def fold_in(
        self, history: Sequence[Name], *, view: str | Keep | None = None
    ) -> Tensor:
        r"""Return the embedding of a person who is no user yet, ``[d]``.

        Whatever the model, users and items lie in one space, and where a user
        lies follows from what she has. With :math:`\mathbf{z}_u` the mean
        embedding of her items, the best linear map from one to the other over
        the users of training is known in closed form, see :class:`LinearMap`.
        Neighbours and filters embed users in what they have, see
        ``ItemWeights``.

        Args:
            history: The items that she has, at least one.
            view: See :meth:`recommend`.

        Raises:
            ValueError: If there is none, or one is unknown.
        """
        return self._folded(self._place(view), [self._history(history)])[0]

    def similar_items(
        self, item: Name, k: int = 10, *, modality: str | None = None
    ) -> list[tuple[Name, float]]:
        """Return the items that are most like another one.

        Args:
            item: The item.
            k: How many.
            modality: The modality to compare by; those the model was trained
                with by default.

        Returns:
            Items and the cosines of their embeddings, the nearest first. Those
            that lack the modality are left out.

        Raises:
            ValueError: If there is no such item or modality, the item lacks
                it, or ``k`` is not positive.
        """
        check_whole('similar_items', k=k)
        if modality is not None and modality not in self.modalities:
            raise ValueError(
                f"'modality' needs to be one of {self.modalities} (got "
                f'{modality!r})'
            )
        place = self._place(None if modality is None else [modality])
        row = self.items.row(item)
        has = None if modality is None else self.has.get(modality)
        if has is not None and not has[row]:
            raise ValueError(f'Item {item!r} has no {modality}')
        side = self._side(place)
        cosine = scores(side.item, side.item, torch.tensor([row]))[0]
        cosine = cosine / (side.norm * side.norm[row]).clamp(min=1e-12)
        cosine[row] = -torch.inf
        if has is not None:
            cosine[~has] = -torch.inf
        length = min(k, int(cosine.isfinite().sum()))
        score, index = stable_topk(cosine.unsqueeze(0), length)
        names = self.items.of(index[0].tolist())
        return list(zip(names, score[0].tolist(), strict=True))

    def explain(self, user: Name, item: Name) -> Explanation:
        """Explain a recommendation, see :func:`~pyg_ckd.inspect.explain`.

        Args:
            user: The user.
            item: The item.

        Raises:
            ValueError: If one is unknown, or items have no modality.
        """
        names = [m for m in self.modalities if m in self.keeps[0]]
        if not names:
            raise ValueError(NOTHING_TO_EXPLAIN_BY)
        row, column = self.users.rows([user]), self.items.row(item)
        score_of = {}
        for keep in distinct_views(names):
            place = self._place(keep)
            user_emb = self._users(place, row)
            none = torch.tensor([0])
            score_of[keep] = scores(user_emb, self._side(place).item, none)[0]
        called = self.title(item)
        return explanation(
            score_of,
            names,
            column,
            owned=self._known_of(row),
            user=user,
            called=f'item {called}' if self.titles is None else repr(called),
        )

    def embeddings(
        self, view: str | Keep | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items.

        Args:
            view: See :meth:`recommend`.

        Returns:
            Tensors of shape ``[num_users, d]`` and ``[num_items, d]``.

        Raises:
            ValueError: If the view is unknown.
        """
        place = self._place(view)
        every = torch.arange(self.users.size)
        return self._users(place, every), self._side(place).item

    def trained_keys(self) -> Tensor:
        """Return the keys of what users have who were trained, sorted."""
        user = self.known // self.items.size
        return self.known[~torch.isin(user, self.untrained)]

    def history(self, user: Name) -> list[Name]:
        """Return what a user has, held out interactions included.

        Args:
            user: The user.

        Raises:
            ValueError: If there is no such user.
        """
        known = self._known_of(self.users.rows([user]))
        return self.items.of(known.tolist())

    def search_items(self, text: str, most: int = 20) -> list[Name]:
        """Return items whose name begins with a text, or whose title has it.

        Args:
            text: The text; in titles upper case counts as lower case.
            most: How many.
        """
        found = self.items.search(text, most)
        lower = text.casefold()
        titled = (
            self.items.of([row])[0]
            for row, title in enumerate(self.titles or ())
            if lower in title.casefold()
        )
        return list(dict.fromkeys([*found, *islice(titled, most)]))[:most]

    def title(self, item: Name) -> str:
        """Return what people call an item: its title, or else its name."""
        if self.titles is None:
            return str(item)
        return self.titles[self.items.row(item)]

    def view_names(self) -> dict[str, Keep]:
        """Return the views by the names that tables have for them."""
        names = self.modalities
        return {view_name(keep, names): keep for keep in self.keeps}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_lock': None}  # locks are of one process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        called = self.about.get('name', 'model')
        return (
            f'Served({called}, {self.users.size} users, {self.items.size} '
            f'items, views {list(self.view_names())})'
        )

    def _best(
        self,
        user_emb: Tensor,
        k: int,
        known: Tensor,
        candidates: Iterable[Name] | None,
        place: int,
    ) -> tuple[list[list[Name]], list[list[float]]]:
        """Return items and scores for embeddings of users.

        Args:
            user_emb: The embeddings, ``[N, d]``.
            k: The length of the lists.
            known: Keys of what is left out, by the place of a user in them.
            candidates: The only items that may be listed.
            place: The view.
        """
        check_whole('recommend', k=k)
        k = min(k, self.items.size)
        allowed = None
        if candidates is not None:
            allowed = self.items.rows(listed(candidates)).unique()
            if not len(allowed):
                raise ValueError("'candidates' needs at least one item")
        if not len(user_emb):
            return [], []
        if self.index is not None and place == 0 and allowed is None:
            size = self.items.size
            gone = torch.stack([known // size, known % size])
            score, index = self.index.search(user_emb.float(), k, gone)
        else:
            index, score = best_items(
                user_emb,
                self._side(place).item,
                torch.arange(len(user_emb)),
                k,
                known,
                allowed,
            )
        names, values = [], []
        for items, of in zip(index.tolist(), score.tolist(), strict=True):
            num = items.index(-1) if -1 in items else len(items)
            names.append(self.items.of(items[:num]))
            values.append(of[:num])
        return names, values

    def _place(self, view: str | Iterable[str] | None) -> int:
        if view is None:
            return 0
        names = self.view_names()
        keep = names.get(view) if isinstance(view, str) else frozenset(view)
        if keep not in self.keeps:
            raise ValueError(
                f"'view' needs to be one of {list(names)}, or the set of the "
                f'modalities in it (got {view!r})'
            )
        return self.keeps.index(keep)

    def _side(self, place: int) -> _Items:
        """Return the items of a view, computed once."""
        with self._lock:
            if place not in self._sides:
                none = torch.empty(0, dtype=torch.long)
                _, item = self.views.embedding(place, user=none)
                self._sides[place] = _Items(item)
            return self._sides[place]

    def _users(self, place: int, rows: Tensor) -> Tensor:
        """Return the embeddings of users in a view, ``[N, d]``."""
        none = torch.empty(0, dtype=torch.long)
        user = self.views.embedding(place, user=rows, item=none)[0]
        new = torch.isin(rows, self.untrained)
        if not bool(new.any()):
            return user
        owned = self._known_of(rows)
        size = self.items.size
        histories = [
            owned[owned // size == place] % size if is_new else owned[:0]
            for place, is_new in enumerate(new.tolist())
        ]
        folded = self._folded(place, histories)
        if folded.is_sparse:
            return user + folded
        return torch.where(new.unsqueeze(1), folded, user.to_dense())

    def _known_of(self, rows: Tensor) -> Tensor:
        """Return what users have, as keys of their place in a request."""
        size = self.items.size
        start = torch.searchsorted(self.known, rows * size).tolist()
        end = torch.searchsorted(self.known, (rows + 1) * size).tolist()
        parts = [
            self.known[a:b] % size + place * size
            for place, (a, b) in enumerate(zip(start, end, strict=True))
        ]
        return torch.cat(parts) if parts else self.known[:0]

    # New users ##############################################################

    def _history(self, history: Sequence[Name]) -> Tensor:
        history = listed(history)
        if not isinstance(history, Collection) or isinstance(history, str):
            raise TypeError(
                f'A history needs to be a list of items (got {history!r})'
            )
        if not history:
            raise ValueError(
                f'A history needs to be a list of at least one item (got '
                f'{history!r})'
            )
        return self.items.rows(history).unique()

    def _folded(self, place: int, rows: Sequence[Tensor]) -> Tensor:
        """Return embeddings of those who have these items, ``[N, d]``."""
        item = self._side(place).item
        if not rows:
            return item.new_empty(0, item.size(1))
        known = self._map(place)
        if isinstance(known, ItemWeights):
            return known(item.dtype, rows)
        mean = [
            item.index_select(0, row).to_dense().mean(dim=0)
            if len(row)
            else known.item
            for row in rows
        ]
        return known(torch.stack(mean))

    def _map(self, place: int) -> LinearMap | ItemWeights:
        """Return the map from items that users have to users."""
        item = self._side(place).item
        with self._lock:
            if place not in self._maps:
                user, _ = self.views.embedding(place)
                by_item = ItemWeights.fitted(user) if _is_square(item) else None
                self._maps[place] = by_item or LinearMap.fitted(
                    user, item, self.trained_keys()
                )
            return self._maps[place]


def untrained_users(data: HeteroData) -> Tensor:
    """Return the rows of users without any interaction in training."""
    user = data[RATES].edge_index[0].cpu()
    count = torch.bincount(user, minlength=data['user'].num_nodes)
    return (count == 0).nonzero().flatten()


def _is_square(item: Tensor) -> bool:
    """Return whether there is a dimension for each item."""
    return item.size(0) == item.size(1)


class _Items:
    """The items of a view, and how long their embeddings are."""

    def __init__(self, item: Tensor) -> None:
        self.item = item

    @cached_property
    def norm(self) -> Tensor:
        return (self.item * self.item).sum(dim=1).to_dense().sqrt()
