"""What a user-item ``HeteroData`` is: contract, modalities, fingerprint."""

from __future__ import annotations

import copy
import hashlib
import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._contract.cold import cold
from pyg_ckd._contract.devices import check_devices
from pyg_ckd._contract.features import features
from pyg_ckd._contract.graphs import check_graphs
from pyg_ckd._contract.interactions import (
    LABELS,
    RATED_BY,
    RATES,
    interactions,
    require_split,
    sizes,
)
from pyg_ckd._contract.scales import scale_of
from pyg_ckd._contract.state import State
from pyg_ckd._contract.weights import edge_weight

__all__ = [
    'RATED_BY',
    'RATES',
    'check',
    'check_features',
    'feature_scales',
    'fingerprint',
    'interaction_keys',
    'interaction_matrix',
    'modalities',
    'owned_keys',
    'warm_items',
]


class _Checked(NamedTuple):
    """What is remembered of a graph: its state, and that of its copy."""

    # PyG's graphs have no hash, so that they are found by their id:
    data: weakref.ref[HeteroData]
    state: State
    # If something had to be cast:
    copied: HeteroData | None = None
    copied_state: State | None = None


_CHECKED: dict[int, _Checked] = {}


def check(data: HeteroData, *, splits: Iterable[str] = ()) -> HeteroData:
    r"""Return a user-item graph as this library uses it, or say what is wrong.

    It has

    - ``data['user'].num_nodes`` and ``data['item'].num_nodes``;
    - ``data['user', 'rates', 'item'].edge_index``, the training interactions,
      at least one. A pair may occur several times;
    - where known, ``val_edge_label_index`` and ``test_edge_label_index`` of the
      same edge type: interactions held out, none of which is in training;
    - where wanted, ``data['item', 'rated_by', 'user'].edge_index``, the
      training interactions reversed, and no others;
    - for each modality, ``data['item'].x_<modality>`` with one row an item,
      finite, and where some items lack it ``data['item'].has_<modality>``;
    - where interactions count differently, ``edge_weight`` of that edge type,
      for each training interaction the probability in (0, 1] that it takes part
      in an epoch, see :class:`~pyg_ckd.train.TripletLoader`;
    - where some items are there for their features alone,
      ``data['item'].cold``, Booleans; they have no training interaction, and no
      loss draws them as negatives;
    - ``data.graphs``, what transforms have added;

    all on one device. Ids may be integers of any width, counted from 0;
    features may be real numbers of any dtype. Both may be NumPy arrays. Ids
    are cast to 64 bits and features to torch's default dtype, in a copy, which
    shares all that need not be cast.

    It takes one pass over the data, and next to nothing for a graph that has
    not changed since.

    Args:
        data (HeteroData): The graph. It is not changed.
        splits (list[str], optional): The splits that must be there and not
            empty, of ``"val"`` and ``"test"``. (default: :obj:`()`)

    Returns:
        ``data`` itself if nothing has to be cast, otherwise a shallow copy,
        the same one at each call.

    Raises:
        TypeError: If ``data`` is no ``HeteroData``.
        ValueError: If something is missing or wrong. The message names it, its
            place and what to do.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['item'].x_text = torch.eye(3, dtype=torch.double)
        >>> data['user', 'rates', 'item'].edge_index = torch.tensor(
        ...     [[0, 1], [2, 3]])
        >>> check(data)
        Traceback (most recent call last):
            ...
        ValueError: data[('user', 'rates', 'item')].edge_index has the item 3
        in column 1, but the 3 items are 0 to 2; ...
        >>> data['user', 'rates', 'item'].edge_index[1] -= 1
        >>> check(data)['item'].x_text.dtype
        torch.float32
    """
    _check_kind(data)
    if isinstance(splits, str):
        splits = (splits,)
    checked = _remembered(data)
    for split in splits:
        require_split(checked, split)
    return checked


def _check_kind(data: object) -> None:
    if not isinstance(data, HeteroData):
        raise TypeError(
            f"'data' needs to be a 'HeteroData' (got a "
            f"'{type(data).__name__}'); take a graph out of its data set by "
            f'dataset[0]'
        )


def _remembered(data: HeteroData) -> HeteroData:
    state = State(data)
    known = _CHECKED.get(id(data))
    if known and known.data() is data and known.state == state:
        if known.copied is None:
            return data
        if known.copied_state == State(known.copied):
            return known.copied
    # What is cast has to serve training, too:
    with torch.inference_mode(False):
        checked = _cast(data)
    if checked is data:
        _remember(data, state)
    else:
        copied_state = State(checked)
        _remember(checked, copied_state)
        _remember(data, state, checked, copied_state)
    return checked


def _remember(
    data: HeteroData,
    state: State,
    copied: HeteroData | None = None,
    copied_state: State | None = None,
) -> None:
    key = id(data)

    def forget(reference: weakref.ref[HeteroData]) -> None:
        # Another graph may have the id by now:
        if key in _CHECKED and _CHECKED[key].data is reference:
            del _CHECKED[key]

    _CHECKED[key] = _Checked(
        weakref.ref(data, forget), state, copied, copied_state
    )


def _cast(data: HeteroData) -> HeteroData:
    """Check a graph; copy it if something has to be cast."""
    num_users, num_items = sizes(data)
    check_devices(data)
    pairs = interactions(data, num_users, num_items)
    train = pairs[RATES, 'edge_index']
    values: dict[tuple[Any, str], Any] = {
        ('user', 'num_nodes'): num_users,
        ('item', 'num_nodes'): num_items,
        **pairs,
        **{
            ('item', name): value
            for name, value in [
                *features(data, num_items).items(),
                *cold(data, num_items, train[1]).items(),
            ]
        },
        **{
            (RATES, name): value
            for name, value in edge_weight(data, train.size(1)).items()
        },
    }
    check_graphs(data, num_users, num_items, train)
    return _with(data, values)


def check_features(data: HeteroData) -> HeteroData:
    """Check the features of the items alone, for what reads nothing else.

    Those of an item that lacks the modality are not looked at.

    Args:
        data: A graph with items; the rest may be missing.

    Returns:
        ``data`` itself if nothing has to be cast, otherwise a shallow copy.
        Floating features keep their dtype.

    Raises:
        TypeError: If ``data`` is no ``HeteroData``.
        ValueError: As :func:`check`.
    """
    _check_kind(data)
    names = modalities(data)
    num_items = data['item'].get('num_nodes')
    if num_items is None and names:
        num_items = len(data['item'][f'x_{names[0]}'])
    known = copy.copy(data)
    for m in names:
        x, has = data['item'][f'x_{m}'], data['item'].get(f'has_{m}')
        if (
            isinstance(x, Tensor)
            and isinstance(has, Tensor)
            and len(x) == len(has)
        ):
            known['item'][f'x_{m}'] = x.masked_fill(~has.unsqueeze(1), 0)
    values = {}
    for name, value in features(known, int(num_items or 0)).items():
        given = data['item'][name]
        keeps = isinstance(given, Tensor) and given.is_floating_point()
        values['item', name] = given if keeps else value
    return _with(data, values)


def _with(data: HeteroData, values: dict[tuple[Any, str], Any]) -> HeteroData:
    """Return the graph with other values, a copy if there are any."""
    checked = data
    for (store, name), value in values.items():
        if value is not data[store][name]:
            if checked is data:
                checked = copy.copy(data)
            checked[store][name] = value
    return checked


def modalities(data: HeteroData) -> list[str]:
    """Return the modalities of the items: the names behind ``x_``.

    Args:
        data: A user-item graph.

    Example:
        >>> data = HeteroData()
        >>> data['item'].x_text = torch.randn(3, 8)
        >>> modalities(data)
        ['text']
    """
    return [key[2:] for key in data['item'] if key.startswith('x_')]


def feature_scales(data: HeteroData) -> dict[str, float]:
    r"""Return how large the features of each modality are.

    The scale of a modality is the distance of an item from the mean item, a
    root mean square over the items that have it:

    .. math::
        \sqrt{\mathrm{mean}_i \, \|\mathbf{x}_i - \bar{\mathbf{x}}\|^2}

    This is what a linear layer learns from: its gradients and the steps of its
    output grow with the length of its input, to which each feature adds, and a
    part that all items share cancels from the difference of two scores. Rows
    of unit length have a scale of at most 1, whatever their width, and
    standardised features one of :math:`\sqrt{F}`.

    Args:
        data: A user-item graph, as :func:`check` returns it.

    Example:
        >>> data = HeteroData()
        >>> data['item'].x_text = torch.tensor([[5.0, 3.0], [5.0, 7.0]])
        >>> feature_scales(data)
        {'text': 2.0}
    """
    scales = {}
    for m in modalities(data):
        x, has = data['item'][f'x_{m}'], data['item'].get(f'has_{m}')
        x = x.detach().to(torch.get_default_dtype())
        scales[m] = scale_of(x if has is None else x[has])
    return scales


def interaction_keys(data: HeteroData) -> Tensor:
    """Return the sorted keys ``user * num_items + item`` of training.

    Args:
        data: A user-item graph, as :func:`check` returns it.

    Returns:
        Integers of shape ``[num_train]``, for look-ups by
        :func:`torch.searchsorted`.
    """
    user, item = data[RATES].edge_index
    return torch.sort(user * data['item'].num_nodes + item).values


def interaction_matrix(data: HeteroData) -> Tensor:
    """Return the training matrix, a sparse tensor of ones.

    Args:
        data: A user-item graph, as :func:`check` returns it.

    Returns:
        A matrix of shape ``[num_users, num_items]``.
    """
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    key = interaction_keys(data).unique_consecutive()
    return torch.sparse_coo_tensor(
        torch.stack([key // num_items, key % num_items]),
        torch.ones(len(key), device=key.device),
        (num_users, num_items),
        check_invariants=False,
        is_coalesced=True,
    )


def warm_items(data: HeteroData) -> Tensor | None:
    """Return the items that a loss may draw, ``None`` if those are all.

    Args:
        data: A user-item graph, as :func:`check` returns it.

    Example:
        >>> data = HeteroData()
        >>> data['item'].cold = torch.tensor([False, True, False])
        >>> warm_items(data)
        tensor([0, 2])
    """
    is_cold = data['item'].get('cold')
    return None if is_cold is None else (~is_cold).nonzero().flatten()


def owned_keys(data: HeteroData) -> Tensor:
    """Return the keys of all interactions, those held out included.

    Args:
        data: A user-item graph, as :func:`check` returns it.

    Returns:
        Integers as those of :func:`interaction_keys`, each once.
    """
    rates, num_items = data[RATES], data['item'].num_nodes
    pairs = [rates.get(name) for name in ('edge_index', *LABELS.values())]
    keys = [pair[0] * num_items + pair[1] for pair in pairs if pair is not None]
    return torch.cat(keys).unique()


def fingerprint(data: HeteroData) -> str:
    """Return a hash of all that a teacher learns from.

    Two graphs with the same sizes, training interactions (in any order) with
    their weights, cold items and item features have the same fingerprint.

    Args:
        data: A user-item graph.

    Returns:
        64 hexadecimal digits.
    """
    data = check(data)
    digest = hashlib.sha256()
    digest.update(f'{data["user"].num_nodes},{data["item"].num_nodes}'.encode())
    digest.update(interaction_keys(data).cpu().numpy().tobytes())
    for modality in sorted(modalities(data)):
        x = data['item'][f'x_{modality}']
        digest.update(f'{modality}{tuple(x.shape)}'.encode())
        raw = x.detach().cpu().contiguous().view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    weight = data[RATES].get('edge_weight')
    if weight is not None and not (weight == 1).all():
        weight = weight[_training_order(data)]
        digest.update(b'edge_weight' + weight.double().cpu().numpy().tobytes())
    if 'cold' in data['item']:
        digest.update(b'cold' + data['item'].cold.cpu().numpy().tobytes())
    return digest.hexdigest()


def _training_order(data: HeteroData) -> Tensor:
    """Return the order of keys, and of weights where a pair occurs twice."""
    by_weight = data[RATES].edge_weight.argsort(stable=True)
    user, item = data[RATES].edge_index[:, by_weight]
    key = user * data['item'].num_nodes + item
    return by_weight[key.argsort(stable=True)]
