"""Statistics of user-item graphs."""

from __future__ import annotations

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._contract.arrays import as_tensor
from pyg_ckd._contract.interactions import LABELS
from pyg_ckd._shown.block import Block
from pyg_ckd._shown.html import to_html
from pyg_ckd._shown.text import to_text
from pyg_ckd.datasets._audit import audit, pairs_of
from pyg_ckd.datasets._graph_statistics import GraphStatistics
from pyg_ckd.graph import RATES, feature_scales


def statistics(data: HeteroData) -> GraphStatistics:
    r"""Return the statistics of a user-item graph.

    Interactions are those of all splits. A split that the graph does not have
    counts as empty.

    Args:
        data (HeteroData): A user-item graph.

    Returns:
        Plain numbers, which notebooks show as a table, and ``print`` too:

        - ``users``, ``items``, ``interactions``;
        - ``density``: the share of all pairs that are interactions;
        - ``interactions_per_user``: their mean;
        - ``core``: the smallest number of interactions of any user or item;
        - ``training``, ``validation``, ``test``: the size of each split;
        - ``cold_users``, ``cold_items``: how many have no interaction of
          training;
        - ``modalities``: for each modality its ``dimension``, its ``scale``
          (:func:`~pyg_ckd.graph.feature_scales`), and the share of items that
          lack it, ``missing``.

    Raises:
        ValueError: If ids are out of range.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> numbers = statistics(data)
        >>> numbers['interactions'], numbers['density']
        (180, 0.9)
        >>> numbers['modalities']['text']
        {'dimension': 32, 'scale': 5.13, 'missing': 0.0}
    """
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    train, val, test = (
        pairs_of(data, RATES, key, (num_users, num_items))
        for key in ('edge_index', *LABELS.values())
    )
    user, item = torch.cat([train, val, test], dim=1)
    counts = torch.cat([_count(user, num_users), _count(item, num_items)])
    return GraphStatistics(
        {
            'users': num_users,
            'items': num_items,
            'interactions': user.numel(),
            'density': user.numel() / max(num_users * num_items, 1),
            'interactions_per_user': user.numel() / max(num_users, 1),
            'core': min(counts.tolist(), default=0),
            'training': train.size(1),
            'validation': val.size(1),
            'test': test.size(1),
            'cold_users': int((_count(train[0], num_users) == 0).sum()),
            'cold_items': int((_count(train[1], num_items) == 0).sum()),
            'modalities': {
                modality: {
                    'dimension': data['item'][f'x_{modality}'].size(1),
                    'scale': scale,
                    'missing': _missing(data, modality),
                }
                for modality, scale in feature_scales(data).items()
            },
        }
    )


def describe(data: HeteroData, title: str = '') -> None:
    r"""Print the :func:`statistics` of a user-item graph as a table.

    A notebook shows it as one of its own. Below it are remarks if the features
    of modalities differ in scale, more than tenfold, and if :func:`audit` finds
    that the test set is given away. :func:`describe_page` shows more.

    Args:
        data (HeteroData): A user-item graph.
        title (str, optional): What to print above. (default: :obj:`''`)

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> describe(FakeMultimodal(num_users=2000)[0])
        users                                  2,000
        items                                    500
        interactions                          24,000
        density                               2.400%
        interactions per user                  12.00
        core                                       0
        training                              20,000
        validation                             2,000
        test                                   2,000
        cold users                                 0
        cold items                                 1
        image      32 features, scale 8.08, 0.0% missing
        text       32 features, scale 5.26, 0.0% missing
    """
    numbers = statistics(data)
    found = numbers.table(title)
    leak = audit(data).remark() if numbers['training'] else None
    remarks = [note for note in (numbers.remark(), leak) if note]
    # A name is printed as it is, whatever brackets it has:
    console = Console(markup=False, emoji=False, highlight=False)
    if console.is_jupyter:
        from IPython.display import (  # type: ignore[import-not-found]
            display,
        )

        blocks: list[Block] = [found, *remarks]
        shown = {'text/html': to_html(blocks), 'text/plain': to_text(blocks)}
        display(shown, raw=True)  # type: ignore[no-untyped-call]
        return
    table = Table(title=title or None, box=None, show_header=False)
    table.add_column()
    table.add_column(justify='right')
    for row in found.rows:
        table.add_row(*(cell.text for cell in row))
    console.print(table)
    for remark in remarks:
        console.print(f'\n{remark.text}', soft_wrap=True)


def _count(node: Tensor, num_nodes: int) -> Tensor:
    return torch.bincount(node, minlength=num_nodes)


def _missing(data: HeteroData, modality: str) -> float:
    has = as_tensor(data['item'].get(f'has_{modality}'))
    if has is None or has.numel() == 0:
        return 0.0
    return int((~has).sum()) / has.numel()
