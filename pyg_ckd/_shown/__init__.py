"""Tables that notebooks and terminals show of what is found."""

from .block import Block, Cell, Note, Table, number
from .shown import Shown

__all__ = ['Block', 'Cell', 'Note', 'Shown', 'Table', 'number']
