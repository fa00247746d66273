"""The page as a whole."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from torch_geometric.data import HeteroData

from pyg_ckd._shown.page.render import render
from pyg_ckd._shown.page.section import Section
from pyg_ckd.datasets._audit import audit
from pyg_ckd.datasets._describe import statistics
from pyg_ckd.datasets._description.degrees import degrees_section
from pyg_ckd.datasets._description.features_section import features_section
from pyg_ckd.datasets._description.item_names import ItemNames
from pyg_ckd.datasets._description.lift import common_users
from pyg_ckd.datasets._description.missing import missing_section
from pyg_ckd.datasets._description.modality import Modality
from pyg_ckd.datasets._description.months import months_section
from pyg_ckd.datasets._description.neighbors_section import Neighbors
from pyg_ckd.datasets._description.numbers_section import numbers_section
from pyg_ckd.datasets._description.thumbnails import Thumbnails
from pyg_ckd.datasets._description.verdicts import warnings_of
from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.graph import check_features, modalities


def describe_page(
    data: HeteroData,
    path: str | os.PathLike[str],
    title: str = '',
    pictures: str | os.PathLike[str] | None = None,
    limits: Limits = Limits(),
) -> Path:
    r"""Write a page of HTML that shows what is in a user-item graph.

    Beside what :func:`describe` prints it shows how unequal users and items
    are, what is missing, when interactions were, and for each modality whether
    its features mean anything: eight items, from popular to rare, and the
    nearest neighbours of each, with titles and pictures where there are some;
    items whose features are the same to the bit; and how much more often than
    by chance neighbours share their users (:func:`feature_lifts`). It is about
    1 where features belong to other items, as those of a file whose rows are in
    another order.

    The page is complete in itself: it loads nothing and runs nothing, adapts to
    phones, dark screens and paper, and is the same for the same data. What is
    drawn is drawn by a fixed seed. Graphs that
    :func:`~pyg_ckd.graph.check` refuses for what they hold out are shown, too.

    Args:
        data (HeteroData): A user-item graph. Items are shown by
            ``data['item'].title``, ``.name`` and ``.original_id``, as far as it
            has them.
        path (str or PathLike): The file to write. It is either whole or not
            there.
        title (str, optional): The title. (default: ``'A data set'``)
        pictures (str or PathLike, optional): A folder or zip archive that holds
            a picture for each item, named by its name, or else by its
            ``original_id`` or number. Some are put into the page, shrunk.
            (default: :obj:`None`)
        limits (Limits, optional): How large a picture may be.
            (default: ``Limits()``)

    Returns:
        The file.

    Raises:
        FileNotFoundError: If there is no such folder or archive of pictures.
        ValueError: If the graph lacks users or items, has features that are not
            finite or ids out of range, or the archive is damaged or has no
            picture of any item. Pictures that cannot be read are left out, with
            a warning.

    Example:
        >>> import tempfile
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=50, num_items=20)[0]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     describe_page(data, f'{folder}/shop.html', 'A shop').name
        'shop.html'
    """
    from matplotlib import rc_context

    data = check_features(data)
    thumbnails = None if pictures is None else Thumbnails(pictures, limits)
    with rc_context({'text.parse_math': False}):  # names are no formulas
        sections, notes = _sections(data, thumbnails)
    if thumbnails is not None:
        notes += _about(thumbnails)
    numbers = statistics(data)
    page = render(
        title or 'A data set',
        sections,
        f'{numbers["users"]:,} users, {numbers["items"]:,} items, '
        f'{numbers["interactions"]:,} interactions; '
        f'{", ".join(modalities(data)) or "no modality"}.',
        notes=notes,
    )
    path = Path(path).expanduser()
    with open_atomic(path) as file:
        file.write(page.encode(errors='replace'))
    return path


def _sections(
    data: HeteroData, thumbnails: Thumbnails | None
) -> tuple[list[Section], list[str]]:
    """Return what is shown, and what has to be known first."""
    numbers = statistics(data)
    found = audit(data) if numbers['training'] else None
    users = common_users(data)
    known = [Modality.of(data, m, users) for m in modalities(data)]
    names = ItemNames(data)
    if thumbnails is not None:
        thumbnails.compare(names.ids)
    sections = [
        numbers_section(numbers, found),
        features_section(known, numbers['modalities']),
        *Neighbors(users, names, thumbnails).sections(known),
        missing_section({m.name: m.has for m in known}),
        degrees_section(users.items, users.degree),
        months_section(data),
    ]
    remarks = [numbers.remark(), found and found.remark()]
    notes = [remark.text for remark in remarks if remark]
    notes += [note for m in known for note in warnings_of(m)]
    return [section for section in sections if section], notes


def _about(thumbnails: Thumbnails) -> list[str]:
    """Return what was wrong with pictures, and warn of it."""
    if not thumbnails.problems:
        return []
    first = next(iter(thumbnails.problems.values()))
    num = len(thumbnails.problems)
    text = (
        f'{num:,} of the pictures of this page could not be read, the first of '
        f'them because of: {first}'
    )
    warnings.warn(text, stacklevel=3)
    return [text]
