"""Validation in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch_geometric.data import HeteroData

from pyg_ckd.graph import modalities
from pyg_ckd.kernels.ranks import ALONE, Ranks
from pyg_ckd.nn import Recommender
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.nn.sharded import Sharded
from pyg_ckd.ranking._evaluate import evaluate_among
from pyg_ckd.train.own_users import evaluate_own
from pyg_ckd.views import Keep, view_name


class Once:
    """A loader of one empty batch, which draws no random number.

    Validation ranks all items for all users at once.

    Example:
        >>> list(Once())
        [0]
    """

    def __iter__(self) -> Iterator[int]:
        return iter([0])

    def __len__(self) -> int:
        return 1


def validation(
    recommender: Recommender,
    data: HeteroData,
    keep: Keep,
    watched: Sequence[Keep],
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Return validation metrics of the trained view, and of watched ones.

    Args:
        recommender: The recommender.
        data: The user-item graph.
        keep: The trained view.
        watched: Further views.
        ranks: The processes that share the users, all of which get the same.

    Returns:
        ``val_recall@20`` and ``val_ndcg@20`` of the trained view, and
        ``val_recall@20/<view>`` of each watched one.
    """
    keeps, metrics = [keep, *watched], ('recall', 'ndcg')
    names = modalities(data)
    if isinstance(recommender, Sharded):
        with evaluating(recommender):
            result = {
                view_name(one, names): evaluate_own(
                    recommender.shards['user'],
                    *recommender.own_embeddings(data, one),
                    data,
                    recommender.name,
                    split='val',
                    ks=(20,),
                    metrics=metrics,
                )
                for one in keeps
            }
    else:
        result = evaluate_among(
            ranks, recommender, data, 'val', (20,), metrics, keeps
        )
    trained = result[view_name(keep, names)]
    values = {f'val_{name}': value for name, value in trained.items()}
    for view in (view_name(one, names) for one in watched):
        values[f'val_recall@20/{view}'] = result[view]['recall@20']
    return values
