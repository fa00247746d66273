"""Items that nobody has bought yet."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class NewItems:
    """The contents of new items, encoded as those of a :class:`Catalogue`.

    They are what :func:`~pyg_ckd.serving.with_new_items` takes.
    """

    #: The ids of the items, in the order of their table.
    name: list[str]
    #: For each modality the features, ``[num_new, num_features]``, zero where
    #: an item lacks it.
    features: dict[str, Tensor]
    #: Which items have a modality, Booleans ``[num_new]``, for those that some
    #: of them lack.
    has: dict[str, Tensor]
    #: The titles of the items, if those of the catalogue have titles.
    title: list[str] | None = None
