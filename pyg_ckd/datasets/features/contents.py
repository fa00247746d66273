"""What is known of items beside who bought them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from torch import Tensor

#: The name of a modality, the features of all items, which are zero for items
#: that lack it, and which items have it.
Modality: TypeAlias = tuple[str, Tensor, Tensor]


class Contents(NamedTuple):
    """The contents of items, in the order in which they were asked for."""

    #: The modalities, which may be encoded one at a time.
    modalities: Iterable[Modality]
    #: What people call the items, where that is known.
    titles: list[str] | None = None
    #: The items, those that were asked for and then others that nobody has
    #: bought, if there are such.
    items: list[str] | None = None
