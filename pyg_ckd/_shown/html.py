"""What is shown, as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from markupsafe import Markup

from pyg_ckd._shown.block import Block, Cell, Note, Table

#: Colours are those of the notebook and transparent ones, which fit light and
#: dark alike. Selectors are long, so as to outweigh those of notebooks.
STYLE = Markup("""<style>
div.pyg-ckd { font-size: .875em; line-height: 1.45; max-width: 100%; }
div.pyg-ckd div.pyg-ckd-table { overflow-x: auto; margin: .5em 0; }
div.pyg-ckd table.pyg-ckd-table { width: auto; margin: 0; border: 0;
  border-collapse: collapse; table-layout: auto; color: inherit;
  background: none; font-size: inherit; font-variant-numeric: tabular-nums; }
div.pyg-ckd table.pyg-ckd-table caption { caption-side: top; color: inherit;
  padding: 0 0 .3em; text-align: left; font-size: inherit; font-weight: 600;
  min-width: min(30em, 80vw); overflow-wrap: anywhere; }
div.pyg-ckd table.pyg-ckd-table thead,
div.pyg-ckd table.pyg-ckd-table tbody tr { border: 0; background: none; }
div.pyg-ckd table.pyg-ckd-table tr > th,
div.pyg-ckd table.pyg-ckd-table tr > td { padding: .2em .65em; border: 0;
  color: inherit; background-color: transparent; font-size: inherit;
  font-weight: 400; text-align: right; vertical-align: top;
  white-space: nowrap; max-width: none; }
div.pyg-ckd table.pyg-ckd-table thead tr > th { font-weight: 600;
  vertical-align: bottom;
  border-bottom: 1px solid rgba(128, 128, 128, .6); }
div.pyg-ckd table.pyg-ckd-table tbody tr > th,
div.pyg-ckd table.pyg-ckd-table tbody tr > td {
  border-top: 1px solid rgba(128, 128, 128, .2); }
div.pyg-ckd table.pyg-ckd-table tr > .pyg-ckd-words { text-align: left; }
div.pyg-ckd table.pyg-ckd-table tr > .pyg-ckd-long { white-space: normal;
  overflow-wrap: anywhere; min-width: 16em; max-width: 24em; }
div.pyg-ckd table.pyg-ckd-table tr > .pyg-ckd-bar { padding-left: 3.8em;
  background-repeat: no-repeat; background-position: .65em center;
  background-size: 2.6em .8em; }
div.pyg-ckd table.pyg-ckd-table tr > .pyg-ckd-signed { padding-left: 6em;
  background-size: 4.8em .8em; }
@media (max-width: 30em) {
  div.pyg-ckd table.pyg-ckd-table tr > .pyg-ckd-bar { padding-left: .65em;
    background-image: none !important; }
}
div.pyg-ckd p { margin: .3em 0; max-width: 46em; overflow-wrap: anywhere; }
div.pyg-ckd p.pyg-ckd-reading { margin: 0 0 1em; opacity: .75; }
div.pyg-ckd p.pyg-ckd-warning { padding-left: .6em;
  border-left: 3px solid #c98500; }
</style>""")
#: Blue for above zero, orange for below, which the colour-blind tell apart.
ABOVE, BELOW, ZERO = '#4b93cd', '#e07b39', 'rgba(128,128,128,.6)'
#: Text of more letters than that may take several lines.
LONG = 24

_BLOCK = Markup('<div class="pyg-ckd">{}{}</div>')
_TABLE = Markup(
    '<div class="pyg-ckd-table"><table class="pyg-ckd-table">{}{}'
    '<tbody>{}</tbody></table></div>{}'
)
_CAPTION = Markup('<caption>{}</caption>')
_HEAD = Markup('<thead><tr>{}</tr></thead>')
_ROW = Markup('<tr>{}</tr>')
_CELL = Markup('<{tag}{attributes}>{text}</{tag}>')
_ATTRIBUTE = Markup(' {}="{}"')
_NOTE = Markup('<p{}>{}</p>')
_CLASS = Markup(' class="pyg-ckd-{}"')


def to_html(blocks: Iterable[Block]) -> str:
    """Return tables and notes as HTML, complete in itself.

    All text is escaped; there are no scripts and no links.

    Args:
        blocks: What is shown.

    Example:
        >>> html = to_html([Note('<b>')])
        >>> html.endswith('</style><p>&lt;b&gt;</p></div>')
        True
    """
    parts = (
        _note(block) if isinstance(block, Note) else _table(block)
        for block in blocks
    )
    return str(_BLOCK.format(STYLE, Markup('').join(parts)))


def _note(note: Note) -> Markup:
    kind = _CLASS.format('warning') if note.warns else ''
    return _NOTE.format(kind, note.text)


def _table(table: Table) -> Markup:
    head = (
        _cell(table, Cell(text), column, 'th', scope='col')
        for column, text in enumerate(table.head)
    )
    rows = (
        _ROW.format(Markup('').join(_cells(table, row)))
        for row in range(len(table.rows))
    )
    reading = _NOTE.format(_CLASS.format('reading'), table.reading)
    return _TABLE.format(
        _CAPTION.format(table.title) if table.title else '',
        _HEAD.format(Markup('').join(head)) if table.head else '',
        Markup('').join(rows),
        reading if table.reading else '',
    )


def _cells(table: Table, row: int) -> Iterator[Markup]:
    """Yield the cells of a row but for those that the row above has shown."""
    cells = list(table.rows[row])
    cells += [Cell('')] * (len(table.head) - len(cells))
    for column, cell in enumerate(cells):
        if table.repeats(row, column):
            continue
        below = row + 1
        while below < len(table.rows) and table.repeats(below, column):
            below += 1
        spans = {'rowspan': str(below - row)} if below > row + 1 else {}
        if column == 0:
            scope = 'rowgroup' if spans else 'row'
            yield _cell(table, cell, column, 'th', scope=scope, **spans)
        else:
            yield _cell(table, cell, column, 'td', **spans)


def _cell(
    table: Table, cell: Cell, column: int, tag: str, **attributes: str
) -> Markup:
    kinds = {
        'words': column in table.words,
        'long': len(cell.text) > LONG,
        'bar': cell.bar is not None,
        'signed': cell.bar is not None and cell.signed,
    }
    names = [f'pyg-ckd-{kind}' for kind, given in kinds.items() if given]
    if names:
        attributes['class'] = ' '.join(names)
    if cell.bar is not None:
        attributes['style'] = _bar(cell.bar, cell.signed)
    named = (_ATTRIBUTE.format(*each) for each in attributes.items())
    return _CELL.format(
        tag=Markup(tag), attributes=Markup('').join(named), text=cell.text
    )


def _bar(length: float, signed: bool) -> str:
    """Return the style of a cell with a bar to the left of its text."""
    first, last = sorted((0.0, 100 * length))
    color, axis = ABOVE if length > 0 else BELOW, ''
    if signed:
        first, last = 50 + first / 2, 50 + last / 2
        axis = _gradient(ZERO, 49.5, 50.5) + ','
    return f'background-image:{axis}{_gradient(color, first, last)}'


def _gradient(color: str, first: float, last: float) -> str:
    return (
        f'linear-gradient(90deg,transparent {first:.1f}%,{color} {first:.1f}%,'
        f'{color} {last:.1f}%,transparent {last:.1f}%)'
    )
