"""Products of the newer releases of Amazon's data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from pyg_ckd.datasets.formats.json_records import get_id, parse_record
from pyg_ckd.datasets.raw.problems import Problems


class Product(NamedTuple):
    """What is known of a product."""

    #: Its id.
    item: str
    #: The fields of a template, those that were asked for.
    texts: dict[str, str]
    #: The URL of its picture, ``''`` if there is none.
    picture: str


def read_products(
    lines: Iterable[tuple[int, bytes]],
    items: Collection[str],
    key: str,
    parse: Callable[[dict[Any, Any]], tuple[dict[str, str], str]],
    problems: Problems,
    repeats: Problems,
) -> Iterator[Product]:
    """Yield the products among some items, as they are read.

    Args:
        lines: The number and content of each line, a JSON object.
        items: The items to look for. Of others only the id is checked.
        key: The name of the id.
        parse: From a record to its texts and the URL of its picture.
        problems: Where malformed lines are noted.
        repeats: Where further lines of the same item are noted.

    Example:
        >>> lines = [(1, b'{"asin": "B1", "title": "A cup"}')]
        >>> problems = Problems('meta.gz', 'line', skip=False)
        >>> list(read_products(
        ...     lines, ['B1'], 'asin', lambda r: ({'title': r['title']}, ''),
        ...     problems, problems,
        ... ))
        [Product(item='B1', texts={'title': 'A cup'}, picture='')]
    """
    wanted = set(items)
    line_of: dict[str, int] = {}
    for line, text in lines:
        try:
            record = parse_record(text)
            item = get_id(record, key)
            if item not in wanted:
                continue
            product = Product(item, *parse(record))
        except ValueError as error:
            problems.add(line, 'is malformed', str(error))
            continue
        first = line_of.setdefault(item, line)
        if first == line:
            yield product
        else:
            repeats.add(
                line,
                'repeats an item',
                f"item '{item}' has two, the first is line {first}",
            )
