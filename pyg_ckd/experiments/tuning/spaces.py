"""Where a search for settings looks."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_ckd.experiments.method import BALANCES, OBJECTIVES
from pyg_ckd.experiments.settings import SECTIONS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from optuna import Trial

#: What has a space: the base, for all methods, and each balance.
SEARCHED = ('base', *BALANCES)
#: Settings of trials that could not be compared otherwise.
FIXED = ('fit.monitor',)
#: What an entry may hold.
KEYS = {'low', 'high', 'log', 'step', 'choices'}
#: The file that comes with the library.
DEFAULT = Path(__file__).parents[1] / 'spaces.toml'


@dataclass(frozen=True)
class Range:
    """Numbers from one to another.

    They are whole if both ends are; others are rounded to three digits, and
    what is rounded is trained.

    Args:
        low (float): The smallest.
        high (float): The largest.
        log (bool, optional): Whether to search powers evenly.
            (default: :obj:`False`)
        step (float, optional): The distance of one number from the next.
            (default: :obj:`None`)

    Raises:
        ValueError: If there are no such numbers.

    Example:
        >>> Range(1e-4, 1e-1, log=True).has(0.01)
        True
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        for name in ('low', 'high', 'step'):
            value = getattr(self, name)
            if name == 'step' and value is None:
                continue
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(
                    f"'{name}' needs to be a number (got {value!r})"
                )
        if type(self.log) is not bool:
            raise ValueError(
                f"'log' needs to be true or false (got {self.log!r})"
            )
        if self.low > self.high:
            raise ValueError(
                f"'low' needs to be at most 'high' (got {self.low} and "
                f'{self.high})'
            )
        if self.log and self.low <= 0:
            raise ValueError(
                f"'low' needs to be positive with 'log' (got {self.low})"
            )
        if self.step is not None and (self.step <= 0 or self.log):
            raise ValueError(
                f"'step' needs to be positive, and has no place beside 'log' "
                f'(got {self.step})'
            )
        if self.is_whole and type(self.step) is float:
            raise ValueError(
                f"'step' needs to be whole if 'low' and 'high' are (got "
                f'{self.step})'
            )

    @property
    def is_whole(self) -> bool:
        """Whether the numbers are whole."""
        return type(self.low) is int and type(self.high) is int

    @property
    def example(self) -> float:
        """One of the numbers."""
        return self.low

    def has(self, value: Any) -> bool:
        """Return whether a value is one of the numbers."""
        if type(value) not in ((int,) if self.is_whole else (int, float)):
            return False
        step = self.step or (1 if self.is_whole else None)
        steps = (value - self.low) / step if step else 0.0
        is_reached = abs(steps - round(steps)) < 1e-8
        return self.low <= value <= self.high and is_reached

    def suggest(self, trial: Trial, name: str) -> float:
        """Return the number that a trial of Optuna tries."""
        if self.is_whole:
            step = int(self.step or 1)
            low, high = int(self.low), int(self.high)
            return trial.suggest_int(name, low, high, step=step, log=self.log)
        value = trial.suggest_float(
            name, self.low, self.high, step=self.step, log=self.log
        )
        return min(max(float(f'{value:.3g}'), self.low), self.high)


@dataclass(frozen=True)
class Choices:
    """A few values.

    Args:
        values (tuple): Numbers, texts, or :obj:`True` and :obj:`False`.

    Raises:
        ValueError: If there are none, or others.

    Example:
        >>> Choices((False, True)).has(True)
        True
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("'choices' needs values (got none)")
        for value in self.values:
            if type(value) not in (bool, int, float, str):
                raise ValueError(
                    f"'choices' needs numbers, texts, true or false (got "
                    f'{value!r})'
                )

    @property
    def example(self) -> Any:
        """One of the values."""
        return self.values[0]

    def has(self, value: Any) -> bool:
        """Return whether a value is one of them."""
        return any(
            value == each and isinstance(value, bool) == isinstance(each, bool)
            for each in self.values
        )

    def suggest(self, trial: Trial, name: str) -> Any:
        """Return the value that a trial of Optuna tries."""
        return trial.suggest_categorical(name, self.values)


#: What a search varies, by names such as ``'train.lr'``.
Space = dict[str, Range | Choices]


class Spaces:
    """Search spaces by data set, backbone and method.

    Of the tables ``[<data set>.<backbone>.<method>]``,
    ``[<data set>.<method>]``, ``[default.<backbone>.<method>]`` and
    ``[default.<method>]`` the first one that is there counts alone; without
    any, that of the library does. A method is ``base``, whose settings are
    those of teachers and students as well, or a balance. An entry is a range
    or a few choices::

        [default.base]
        'train.lr' = { low = 1e-4, high = 1e-1, log = true }
        'model.num_layers' = { low = 1, high = 4 }

        [shop.CKD]
        'CKD.on_random.name' = { choices = ['SoftCrossEntropy', 'RRD'] }

    Settings of an objective are searched by methods that have it.

    Args:
        tables (dict): What such a file holds.
        source (str, optional): Where they come from, for messages.
            (default: :obj:`"spaces"`)

    Raises:
        ValueError: If a table or an entry is none of these; it says where.

    Example:
        >>> tables = {'default': {'CKD': {'CKD.strength': {'choices': [1]}}}}
        >>> Spaces(tables).of('shop', 'VBPR', 'CKD')
        {'CKD.strength': Choices(values=(1,))}
    """

    def __init__(
        self, tables: Mapping[str, Any], source: str = 'spaces'
    ) -> None:
        self.source = source
        self._spaces: dict[tuple[str, ...], Space] = {}
        for dataset, table in tables.items():
            self._check_table(table, (dataset,))
            for name, inner in table.items():
                self._check_table(inner, (dataset, name))
                if name in SEARCHED:
                    self._add((dataset, name), inner)
                    continue
                for method, entries in inner.items():
                    path = (dataset, name, method)
                    if method not in SEARCHED:
                        raise ValueError(
                            f'{self._where(path[:2])} holds {method!r}, which '
                            f'is no method: name tables [<data set>.<method>] '
                            f'or [<data set>.<backbone>.<method>], with a '
                            f'method of {", ".join(SEARCHED)}'
                        )
                    self._check_table(entries, path)
                    self._add(path, entries)

    @classmethod
    def read(cls, path: str | Path = DEFAULT) -> Spaces:
        """Read a TOML file, by default the one of the library.

        Raises:
            ValueError: If it is no such file.
        """
        try:
            tables = tomllib.loads(Path(path).read_text('utf-8'))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"'{path}' is no TOML file: {error}") from error
        return cls(tables, str(path))

    def of(self, dataset: str, backbone: str, method: str) -> Space:
        """Return what is searched.

        Args:
            dataset: The data set.
            backbone: The backbone.
            method: ``"base"`` or a balance.
        """
        path = self._path(dataset, backbone, method)
        if path is None:
            return _library().of(dataset, backbone, method)
        return dict(self._spaces[path])

    def where(self, dataset: str, backbone: str, method: str) -> str:
        """Return the file and the table of a space, for messages."""
        path = self._path(dataset, backbone, method)
        if path is None:
            return _library().where(dataset, backbone, method)
        return self._where(path)

    def _path(
        self, dataset: str, backbone: str, method: str
    ) -> tuple[str, ...] | None:
        for name in (dataset, 'default'):
            for path in ((name, backbone, method), (name, method)):
                if path in self._spaces:
                    return path
        return None

    def _add(self, path: tuple[str, ...], table: Mapping[str, Any]) -> None:
        own = path[-1]
        searched = ('model', 'train', 'fit', *OBJECTIVES)
        sections = searched if own == 'base' else (own,)
        space: Space = {}
        for name, entry in _entries(table):
            where = f"{self._where(path)}, '{name}'"
            section, _, argument = name.partition('.')
            if section not in SECTIONS or not argument:
                raise ValueError(
                    f'{where}: there is no such setting; it needs to be '
                    f"'<section>.<argument>' with a section of "
                    f'{", ".join(sections)}'
                )
            if section not in sections:
                hint = (
                    'settings of balances have tables of their own'
                    if own == 'base'
                    else 'what a student shares with its base is searched '
                    'for the base'
                )
                raise ValueError(f"{where} is no setting of '{own}': {hint}")
            if name in FIXED:
                raise ValueError(
                    f'{where} cannot be searched: it says by what trials are '
                    f'compared'
                )
            try:
                space[name] = _parsed(entry)
            except ValueError as error:
                raise ValueError(f'{where}: {error}') from error
        self._spaces[path] = space

    def _where(self, path: tuple[str, ...]) -> str:
        return f"'{self.source}', [{'.'.join(path)}]"

    def _check_table(self, value: Any, path: tuple[str, ...]) -> None:
        if not isinstance(value, Mapping):
            raise ValueError(
                f'{self._where(path)} needs to be a table (got {value!r})'
            )


@cache
def _library() -> Spaces:
    """Return the spaces that come with the library."""
    return Spaces.read()


def _entries(
    table: Mapping[str, Any], before: str = ''
) -> Iterator[tuple[str, Any]]:
    """Yield entries by name, whether ``train.lr`` stands in quotes or not."""
    for name, entry in table.items():
        is_table = isinstance(entry, Mapping) and entry
        if is_table and not KEYS & entry.keys():
            yield from _entries(entry, f'{before}{name}.')
        else:
            yield f'{before}{name}', entry


def _parsed(entry: Any) -> Range | Choices:
    keys = entry.keys() if isinstance(entry, Mapping) else set()
    if keys == {'choices'} and isinstance(entry['choices'], list | tuple):
        return Choices(tuple(entry['choices']))
    if {'low', 'high'} <= keys <= KEYS - {'choices'}:
        return Range(**entry)
    raise ValueError(
        f'it needs to be {{ low = ..., high = ... }}, if need be with log = '
        f'true or step = ..., or {{ choices = [...] }} (got {entry!r})'
    )
