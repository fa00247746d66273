"""The report that people look at: one page of HTML, complete in itself."""

from ._page import report

__all__ = ['report']
