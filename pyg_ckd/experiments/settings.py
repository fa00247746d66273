"""Settings of runs: read from a file, and with defaults filled in."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from torch import nn

from pyg_ckd.balance import (
    DCD,
    RCEKD,
    RRD,
    CounterfactualWeights,
    Hinge,
    SoftCrossEntropy,
)
from pyg_ckd.experiments.backbones import (
    Maker,
    has_own_loss,
    is_ours,
)
from pyg_ckd.experiments.identity import identity_of
from pyg_ckd.experiments.method import BALANCES, OBJECTIVES, Method
from pyg_ckd.experiments.plain import check_kinds, fits, kinds_of
from pyg_ckd.nn import Backbone
from pyg_ckd.train import Recommendation, fit

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: What CKD is put together from, by the name of its argument; the first of
#: several classes is meant where none is named.
PARTS: dict[str, tuple[type[nn.Module], ...]] = {
    'on_batch': (Hinge,),
    'on_random': (SoftCrossEntropy, RCEKD, RRD, DCD),
    'weights': (CounterfactualWeights,),
}
#: What is put around a backbone, and what leaves it as it is.
EXTRA = {
    'standardize': False,
    'components': 0,
    'item_bias': False,
    'nlgcl': 0.0,
}
SECTIONS = ('model', 'extra', 'train', 'fit', *OBJECTIVES, *BALANCES)
SIZES = ('num_users', 'num_items', 'in_channels')
TRAIN = ('lr', 'batch_size', 'sampling')
FIT = ('max_epochs', 'eval_every', 'patience', 'monitor')
#: What the engine passes to ``fit`` itself.
OWNED = ('task', 'progress', 'ckpt_path', 'callbacks', 'accelerator')
#: The file that comes with the library.
DEFAULT = Path(__file__).with_name('settings.toml')


class Settings:
    """Settings by data set and backbone.

    A data set's own table of a backbone counts alone; without one, that of
    ``default`` does, and without either, the defaults of the classes.

    Args:
        tables (dict): ``tables[<data set>][<backbone>][<section>]`` holds
            arguments. Sections are ``model`` (of the backbone), ``train`` (of
            :class:`~pyg_ckd.train.Recommendation`), ``fit`` (of
            :func:`~pyg_ckd.train.fit`), the names of objectives and balances,
            and ``extra``: whether to ``standardize`` features, how many
            principal ``components`` of each modality to keep, if not all,
            whether to add an ``item_bias``, and the weight of ``nlgcl``. An
            objective may hold sections ``with`` it, which count where it is
            named. A part of CKD holds its own arguments, with the ``name`` of
            its class if that is not the usual one, or :obj:`False` to be left
            out.
        source (str, optional): Where they come from, for messages.
            (default: :obj:`"settings"`)
        others (Settings, optional): Those of a backbone that has no table
            here, neither for the data set nor as a default.
            (default: :obj:`None`)

    Raises:
        ValueError: If a section is unknown, or something is no table.

    Example:
        >>> settings = Settings({'shop': {'VBPR': {'model': {'dim': 8}}}})
        >>> from pyg_ckd.nn import VBPR
        >>> settings.effective('shop', 'VBPR', VBPR, Method())['model']['dim']
        8
    """

    def __init__(
        self,
        tables: Mapping[str, Any],
        source: str = 'settings',
        others: Settings | None = None,
    ) -> None:
        self.source = source
        self.others = others
        _check_table(tables, f"'{source}'")
        for dataset, backbones in tables.items():
            _check_table(backbones, f"'{source}', [{dataset}]")
            for backbone, sections in backbones.items():
                where = f"'{source}', [{dataset}.{backbone}]"
                _check_table(sections, where)
                for name, arguments in sections.items():
                    if name not in SECTIONS:
                        raise ValueError(
                            f'{where} has no section for {name!r}; it may have '
                            f'{", ".join(SECTIONS)}'
                        )
                    _check_table(arguments, f'{where}, {name}')
        self.tables = tables

    @classmethod
    def read(cls, path: str | Path = DEFAULT) -> Settings:
        """Read a TOML file, by default the one of the library.

        Raises:
            ValueError: If it is no such file.
        """
        try:
            tables = tomllib.loads(Path(path).read_text('utf-8-sig'))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"'{path}' is no TOML file: {error}") from error
        return cls(tables, str(path))

    def over(self, others: Settings) -> Settings:
        """Return these settings, and others' for what these have no table.

        Args:
            others: What else there is, such as the settings of the library.
        """
        return Settings(self.tables, self.source, others)

    def check(self, dataset: str, backbones: Iterable[str]) -> None:
        """Refuse names that would be overlooked.

        Args:
            dataset: The data set that is trained on.
            backbones: The names of all backbones that there are.

        Raises:
            ValueError: If there are settings, but none of the data set and no
                defaults, or a backbone is unknown.
        """
        there = ', '.join(self.tables)
        if self.tables and not {dataset, 'default'} & self.tables.keys():
            raise ValueError(
                f"'{self.source}' has settings of {there}, none of "
                f"'{dataset}' and no 'default'"
            )
        known = list(backbones)
        for name in {name for table in self.tables.values() for name in table}:
            if name not in known:
                raise ValueError(
                    f"'{self.source}' has settings of '{name}', which is no "
                    f'backbone; there are {", ".join(known)}'
                )

    def of(self, dataset: str, backbone: str) -> dict[str, Any]:
        """Return what is written of a backbone, by section."""
        for name in (dataset, 'default'):
            sections = self.tables.get(name, {})
            if backbone in sections:
                return dict(sections[backbone])
        return self.others.of(dataset, backbone) if self.others else {}

    def changed(
        self, dataset: str, backbone: str, changes: Mapping[str, Any]
    ) -> Settings:
        """Return settings that differ in those of one backbone.

        Args:
            dataset: The data set.
            backbone: The backbone.
            changes: What differs, by section.
        """
        own = merged(self.of(dataset, backbone), changes)
        table = {**self.tables.get(dataset, {}), backbone: own}
        tables = {**self.tables, dataset: table}
        return Settings(tables, self.source, self.others)

    def effective(
        self,
        dataset: str,
        backbone: str,
        make: Maker,
        method: Method,
        max_epochs: int = 1000,
        identity: str | None = None,
    ) -> dict[str, Any]:
        """Return all settings of a run, with defaults filled in.

        Settings that train alike are equal, whether a default is written out
        or not.

        Args:
            dataset: The data set.
            backbone: The name of the backbone.
            make: The backbone.
            method: How it is trained.
            max_epochs: The largest number of epochs, unless it is written.
            identity: That of the code of the backbone and all that it holds,
                if it is known.

        Returns:
            Plain values: arguments of ``model``, ``train`` and ``fit``; and
            ``objective`` and ``balance``, with their ``name``, or :obj:`None`
            for the loss of the backbone itself, and no balance; what there is
            of ``extra``; and, of a backbone that is not of the library,
            ``maker``, its identity.

        Raises:
            ValueError: If there is no such argument, or one is missing.
        """
        where = f"'{self.source}', [{dataset}.{backbone}]"
        own = _with(self.of(dataset, backbone), method.objective, where)
        own = merged(own, method.changes)
        for name, arguments in own.items():
            _check_table(arguments, f'{where}, {name}')
        extra = _filled(
            EXTRA,
            own.get('extra', {}),
            f'{where}, extra',
            {name: type(value) for name, value in EXTRA.items()},
        )
        for name in ('components', 'nlgcl'):
            if extra[name] < 0:
                raise ValueError(
                    f"{where}, extra: '{name}' needs to be at least 0 (got "
                    f'{extra[name]})'
                )
        extra = {k: value for k, value in extra.items() if value != EXTRA[k]}
        train = arguments_of(Recommendation, only=TRAIN)
        maker = identity_of(make, backbone) if identity is None else identity
        return {
            **({'maker': maker} if maker else {}),
            **({'extra': extra} if extra else {}),
            'model': _model(make, own.get('model', {}), f'{where}, model'),
            'train': _filled(
                train,
                own.get('train', {}),
                f'{where}, train',
                kinds_of(Recommendation),
            ),
            'fit': _fit(
                {'max_epochs': max_epochs, **own.get('fit', {})},
                f'{where}, fit',
                method,
            ),
            'objective': self._objective(own, make, method, where),
            'balance': self._balance(own, method, where),
        }

    @staticmethod
    def _objective(
        own: Mapping[str, Any], make: Maker, method: Method, where: str
    ) -> dict[str, Any] | None:
        name = method.objective
        if not name and ('BPR' in own or not has_own_loss(make)):
            name = 'BPR'
        if not name:
            return None
        make_objective = OBJECTIVES[name]
        filled = _filled(
            arguments_of(make_objective),
            own.get(name, {}),
            f'{where}, {name}',
            kinds_of(make_objective),
        )
        return {'name': name, **filled}

    @staticmethod
    def _balance(
        own: Mapping[str, Any], method: Method, where: str
    ) -> dict[str, Any] | None:
        if not method.balance:
            return None
        where = f'{where}, {method.balance}'
        make = BALANCES[method.balance]
        known = arguments_of(make, without={'teachers'})
        arguments = dict(own.get(method.balance, {}))
        for name in PARTS.keys() & known.keys() & arguments.keys():
            arguments[name] = _part(name, arguments[name], where)
        filled = _filled(known, arguments, where, kinds_of(make))
        return {'name': method.balance, **filled}


def merged(
    settings: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return settings with some changed, those of parts one by one.

    A part of another name has nothing of the one before.

    Example:
        >>> merged({'a': {'b': 1, 'c': 2}}, {'a': {'b': 3}})
        {'a': {'b': 3, 'c': 2}}
        >>> merged({'a': {'b': 1}}, {'a': {'name': 'RRD', 'c': 3}})
        {'a': {'name': 'RRD', 'c': 3}}
    """
    result = dict(settings)
    for name, value in changes.items():
        before = result.get(name)
        if (
            isinstance(value, Mapping)
            and isinstance(before, Mapping)
            and value.get('name') in (None, before.get('name'))
        ):
            value = merged(before, value)
        result[name] = value
    return result


def arguments_of(
    make: Callable[..., Any],
    only: Collection[str] | None = None,
    without: Collection[str] = (),
) -> dict[str, Any]:
    """Return the defaults of arguments; those without have `Parameter.empty`.

    Args:
        make: What takes them.
        only: Those of interest; all by default.
        without: Those that are not settings.
    """
    return {
        name: parameter.default
        for name, parameter in signature(make).parameters.items()
        if parameter.kind
        not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        and name not in without
        and (only is None or name in only)
    }


def _model(make: Maker, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the arguments of a backbone, or of what else makes a model."""
    if is_ours(make):
        assert isinstance(make, type) and issubclass(make, Backbone)
        use = arguments_of(make.from_data, only=('use',))
        known = {**use, **arguments_of(make, without=SIZES)}
        kinds = {**kinds_of(make), 'use': list[str] | None}
        return _filled(known, given, where, kinds)
    parameters = list(signature(make).parameters.values())
    known = arguments_of(make)
    known.pop(parameters[0].name, None)  # the graph
    if any(one.kind is Parameter.VAR_KEYWORD for one in parameters):
        known = {**dict.fromkeys(given), **known}
    known = {  # other defaults stay with their maker
        name: default
        for name, default in known.items()
        if name in given
        or default is Parameter.empty
        or fits(default, str | int | float | bool | None)
    }
    return _filled(known, given, where, kinds_of(make))


def _fit(
    given: Mapping[str, Any], where: str, method: Method
) -> dict[str, Any]:
    """Return the arguments of `fit`, those of Lightning if they say a thing."""
    known = arguments_of(fit, only=FIT)
    of_lightning = arguments_of(Trainer, without=(*known, *OWNED))
    for name in given:
        if name in OWNED:
            raise ValueError(
                f"{where}: '{name}' is passed by the engine itself"
            )
        if name not in known and name not in of_lightning:
            raise ValueError(
                f"{where}: there is no argument '{name}'; there are "
                f"{', '.join(known)}, and those of Lightning's Trainer"
            )
    given = {
        name: value
        for name, value in given.items()
        if name in known or value != of_lightning[name]
    }
    known = {**of_lightning, **known}
    known = {name: known[name] for name in (*FIT, *given)}
    filled = _filled(known, given, where, kinds_of(fit))
    if method.kind == 'teacher' and '/' in filled['monitor']:
        # Such as that of a view that only others have, see `fit`:
        filled['monitor'] = known['monitor']
    return filled


def _part(name: str, value: Any, where: str) -> dict[str, Any] | None:
    """Return the arguments of a part of CKD, `None` without it."""
    if value is False:
        return None
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{where}: '{name}' needs to be a table of arguments, or false to "
            f'be left out (got {value!r})'
        )
    usual, *others = PARTS[name]
    arguments = dict(value)
    called = arguments.pop('name', usual.__name__)
    where = f'{where}, {name}'
    for part in (usual, *others):
        if part.__name__ == called:
            filled = _filled(
                arguments_of(part), arguments, where, kinds_of(part)
            )
            return filled if part is usual else {'name': called, **filled}
    known = ', '.join(part.__name__ for part in (usual, *others))
    raise ValueError(f"{where}: there is no '{called}'; there are {known}")


def _with(own: Mapping[str, Any], objective: str, where: str) -> dict[str, Any]:
    """Return settings, those that count with an objective over the others."""
    result, changes = dict(own), {}
    for name in OBJECTIVES:
        if isinstance(own.get(name), Mapping) and 'with' in own[name]:
            result[name] = {k: v for k, v in own[name].items() if k != 'with'}
            _check_table(own[name]['with'], f'{where}, {name}, with')
            if name == objective:
                changes = own[name]['with']
    for name in changes:
        if name not in SECTIONS or name in OBJECTIVES:
            raise ValueError(
                f'{where}, {objective}, with: there is no section {name!r}'
            )
    return merged(result, changes)


def _filled(
    known: Mapping[str, Any],
    given: Mapping[str, Any],
    where: str,
    kinds: Mapping[str, Any],
) -> dict[str, Any]:
    """Return arguments with the defaults of those that are not given.

    Args:
        known: The defaults of arguments.
        given: What is written.
        where: Where it is written.
        kinds: The types of arguments, where they are known.
    """
    filled = {}
    for name in given:
        if name not in known:
            raise ValueError(
                f"{where}: there is no argument '{name}'; there are "
                f'{", ".join(known) or "none"}'
            )
    for name, default in known.items():
        value = given.get(name, default)
        if value is Parameter.empty:
            raise ValueError(f"{where}: the argument '{name}' is missing")
        filled[name] = _plain(value, like=default)
        if name in given:
            check_kinds({name: filled[name]}, kinds, where)
        try:
            json.dumps(filled[name])
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{where}: '{name}' needs a plain value (got {value!r})"
            ) from error
    return filled


def _plain(value: Any, like: Any = None) -> Any:
    """Return a value as plain ones; a part becomes its arguments.

    Args:
        value: The value.
        like: A number of which kind an equal one becomes.
    """
    if isinstance(value, nn.Module):
        return {
            name: _plain(vars(value)[name])
            for name in arguments_of(type(value))
        }
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if type(like) in (int, float) and type(value) in (int, float):
        as_like = type(like)(value) if math.isfinite(value) else value
        return as_like if as_like == value else value
    return value


def _check_table(value: Any, where: str) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f'{where} needs to be a table (got {value!r})')
