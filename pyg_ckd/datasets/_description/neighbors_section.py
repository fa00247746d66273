"""Items and their nearest neighbours, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyg_ckd._shown.page.section import (
    Block,
    Card,
    Points,
    Section,
    Strip,
    Strips,
    Text,
)
from pyg_ckd.datasets._description.common_users import CommonUsers
from pyg_ckd.datasets._description.item_names import (
    LONGEST_HINT,
    ItemNames,
    short,
)
from pyg_ckd.datasets._description.modality import K, Modality
from pyg_ckd.datasets._description.neighbors import mean_cosine, nearest
from pyg_ckd.datasets._description.sample import NUM, sample
from pyg_ckd.datasets._description.thumbnails import Thumbnails
from pyg_ckd.datasets._description.verdicts import verdict

#: How many groups of equal items are shown, and how many items of each.
GROUPS, MEMBERS = 3, 6


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Writes sections of items and their nearest neighbours.

    Args:
        users (CommonUsers): The users that items have in common.
        names (ItemNames): What items are called.
        pictures (Thumbnails, optional): Their pictures.
    """

    users: CommonUsers
    names: ItemNames
    pictures: Thumbnails | None = None

    def sections(self, found: Sequence[Modality]) -> list[Section]:
        """Return a section for each modality that has neighbours.

        Args:
            found: The modalities.
        """
        known = [m for m in found if len(m.among) > 1]
        shared = self._shared(known)
        return [
            self._section(
                number, m, self._drawn(m) if shared is None else shared
            )
            for number, m in enumerate(known)
        ]

    def _shared(self, found: Sequence[Modality]) -> Tensor | None:
        """Return items that have all modalities, if there are enough."""
        if not found:
            return None
        both = torch.stack([_mask(m) for m in found]).all(dim=0)
        drawn = self._of(both.nonzero().flatten())
        return drawn if len(drawn) == NUM else None

    def _drawn(self, modality: Modality) -> Tensor:
        return self._of(modality.among)

    def _of(self, among: Tensor) -> Tensor:
        """Return items to look at, of those with interactions if there are."""
        degree = self.users.degree
        known = among[degree[among] > 0]
        return sample(known if len(known) else among, degree)

    def _section(self, number: int, m: Modality, items: Tensor) -> Section:
        neighbor, cosine = nearest(m.x, items, m.among, K)
        strips = [
            self._strip(*row)
            for row in zip(items.tolist(), neighbor, cosine, strict=True)
        ]
        return Section(
            f'neighbors-{number}',
            f'Nearest neighbours by {m.name}',
            f'{self._how(len(items))} Beside each are its nearest neighbours '
            f'by the cosine of features, and how many users of training have '
            f'both. Two items at random have a cosine of '
            f'{mean_cosine(m.x, m.among):.3f} on average.',
            [Strips(strips), Points([verdict(m)]), *self._equal(m)],
        )

    def _strip(self, item: int, neighbor: Tensor, cosine: Tensor) -> Strip:
        others = neighbor.numpy()
        counts = self.users.count(np.full_like(others, item), others)
        number = int(self.users.degree[item])
        users = f'{number:,} user{"" if number == 1 else "s"}'
        return Strip(
            self._card(item, [users]),
            [
                self._card(other, [f'cosine {value:.3f}', *self._common(count)])
                for other, value, count in zip(
                    neighbor.tolist(), cosine.tolist(), counts, strict=True
                )
            ],
        )

    def _how(self, num: int) -> str:
        if not self.users.degree.any():
            return f'{num} items, drawn by a fixed seed.'
        return (
            f'{num} items: those with interactions, from popular to rare, are '
            f'cut into {num} parts of one size, and one of each is drawn by a '
            f'fixed seed.'
        )

    def _equal(self, m: Modality) -> list[Block]:
        """Return items whose features are the same."""
        if not m.equal:
            return [Text('No two items have the same features.')]
        groups = 'group' if len(m.equal) == 1 else 'groups'
        text = (
            f'{m.num_equal:,} items have features that another has to the bit, '
            f'in {len(m.equal):,} {groups}, the largest of '
            f'{len(m.equal[0]):,}. The largest:'
        )
        strips = [
            Strip(
                self._card(first, [f'{1 + len(rest):,} items']),
                [self._card(item) for item in rest[: MEMBERS - 1]],
            )
            for first, *rest in m.equal[:GROUPS]
        ]
        return [Text(text), Strips(strips)]

    def _card(self, item: int, lines: Sequence[str] = ()) -> Card:
        title, name = self.names.title(item), self.names.id(item)
        if self.names.are_numbers and title == name:
            title = f'item {name}'
        elif title != name:
            lines = [short(name), *lines]
        uri = self.pictures.uri(name) if self.pictures else ''
        shown = short(title)
        return Card(
            shown,
            lines,
            hint=short(title, LONGEST_HINT) if shown != title else '',
            picture=uri,
            framed=self.pictures is not None,
        )

    def _common(self, count: np.int64) -> list[str]:
        return [f'{count:,} in common'] if self.users.degree.any() else []


def _mask(modality: Modality) -> Tensor:
    mask = torch.zeros(len(modality.x), dtype=torch.bool)
    mask[modality.among] = True
    return mask
