"""Import arrows point down the list of layers, and run in no circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'pyg_ckd'

#: From the bottom up; parts of one layer may import each other.
LAYERS = (
    ('kernels', '_shown', '_version'),
    ('graph', '_contract'),
    ('datasets',),
    ('transforms',),
    ('views', 'triplet_loader'),
    ('nn',),
    ('metrics', 'ranking', '_ranking'),
    ('objectives',),
    ('balance',),
    ('serving',),
    ('train',),
    ('inspect',),
    ('experiments',),
    ('testing', '__main__'),
)
HEIGHT = {part: height for height, parts in enumerate(LAYERS) for part in parts}


def modules_of(package: Path) -> dict[str, Path]:
    """Return the files of a package by the names of their modules."""
    modules = {}
    for path in package.rglob('*.py'):
        parts = path.relative_to(package.parent).with_suffix('').parts
        modules['.'.join(p for p in parts if p != '__init__')] = path
    return modules


def imports_of(module: str, modules: dict[str, Path]) -> set[str]:
    """Return what a module imports of its package, wherever it does so.

    Imports inside functions count, and those for type checking.
    """
    path = modules[module]
    home = module.split('.')
    if path.name == '__init__.py':
        home.append('__init__')
    found = set()
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = home[: -node.level] if node.level else []
            source = '.'.join([*above, *filter(None, [node.module])])
            for alias in node.names:
                name = f'{source}.{alias.name}'
                found.add(name if name in modules else source)
    return (found & modules.keys()) - {module}


@pytest.fixture(scope='module')
def arrows() -> dict[str, set[str]]:
    """What each module of the package imports."""
    modules = modules_of(PACKAGE)
    return {module: imports_of(module, modules) for module in modules}


def top(module: str) -> str:
    """Return the part of the package that a module belongs to."""
    return module.split('.')[1]


def test_arrows_are_found(tmp_path):
    package = tmp_path / 'shop'
    (package / 'till').mkdir(parents=True)
    files = {
        '__init__': '',
        'goods': 'import torch',
        'staff': 'def f():\n    from shop import goods',
        'till/__init__': 'from .drawer import Drawer',
        'till/drawer': (
            'import shop.goods\n'
            'if TYPE_CHECKING:\n    from shop.staff import Clerk\n'
            'from .. import goods'
        ),
    }
    for name, text in files.items():
        (package / f'{name}.py').write_text(text)
    modules = modules_of(package)
    found = {name: imports_of(name, modules) for name in modules}
    assert found == {
        'shop': set(),
        'shop.goods': set(),
        'shop.staff': {'shop.goods'},
        'shop.till': {'shop.till.drawer'},
        'shop.till.drawer': {'shop.goods', 'shop.staff'},
    }


def test_no_circle(arrows):
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(' <- '.join(error.args[1]))


def test_arrows_point_down(arrows):
    inner = {name: them for name, them in arrows.items() if '.' in name}
    assert {top(module) for module in inner} <= HEIGHT.keys()
    upward = [
        f'{module} -> {other}'
        for module, others in inner.items()
        for other in others
        if '.' in other and HEIGHT[top(other)] > HEIGHT[top(module)]
    ]
    assert upward == []


def test_nobody_imports_the_fakes(arrows):
    users = {
        module
        for module, others in arrows.items()
        for other in others
        if '.' in other and top(other) == 'testing'
    }
    assert {top(module) for module in users} <= {'testing'}


def hidden(modules: dict[str, Path]) -> list[str]:
    """Return public modules that a function of their name hides.

    ``import package.name`` would be the module, and ``package.name`` the
    function.
    """
    found = []
    for package, path in modules.items():
        if path.name != '__init__.py':
            continue
        names = {
            alias.asname or alias.name
            for node in ast.walk(ast.parse(path.read_text('utf-8')))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        found += [
            f'{package}.{name}'
            for name in sorted(names)
            if f'{package}.{name}' in modules
            and name in functions_of(modules[f'{package}.{name}'])
        ]
    return found


def functions_of(path: Path) -> set[str]:
    """Return what a module calls its functions and classes."""
    return {
        node.name
        for node in ast.parse(path.read_text('utf-8')).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def test_hidden_modules_are_found(tmp_path):
    package = tmp_path / 'shop'
    package.mkdir()
    files = {
        '__init__': (
            'from .sell import sell\nfrom ._buy import buy\nfrom . import staff'
        ),
        'sell': 'def sell(): ...',
        '_buy': 'def buy(): ...',
        'staff': 'class Clerk: ...',
    }
    for name, text in files.items():
        (package / f'{name}.py').write_text(text)
    assert hidden(modules_of(package)) == ['shop.sell']


def test_no_module_is_hidden():
    assert hidden(modules_of(PACKAGE)) == []
