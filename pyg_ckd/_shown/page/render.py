"""The page as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from markupsafe import Markup

from pyg_ckd._shown.page.section import Section
from pyg_ckd._shown.page.svg import themed


def render(
    title: str,
    sections: Sequence[Section],
    lead: str = '',
    about: str = '',
    notes: Sequence[str] = (),
) -> str:
    """Return a page of HTML that loads nothing and runs nothing.

    It adapts to phones, dark screens and paper. All text is escaped.

    Args:
        title: What is above it.
        sections: What it shows, in this order.
        lead: A paragraph below the title.
        about: Another one, in a softer colour.
        notes: What has to be known before anything else, a sentence each.

    Example:
        >>> page = render('A <b>', [])
        >>> '<h1>A &lt;b&gt;</h1>' in page
        True
    """
    from jinja2 import Environment, StrictUndefined

    folder = files('pyg_ckd._shown.page')
    environment = Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters['themed'] = themed
    template = folder.joinpath('page.html.jinja').read_text('utf-8')
    page = environment.from_string(template).render(
        title=title,
        style=Markup(folder.joinpath('page.css').read_text('utf-8')),
        lead=lead,
        about=about,
        notes=notes,
        sections=sections,
    )
    return f'{page.strip()}\n'
