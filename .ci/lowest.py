"""Print the lower bounds of all dependencies, as constraints for pip.

Those of torch are left to who chooses its build. A dependency without a lower
bound, or without a pin, is an error.
"""

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

BOUND = re.compile(r'([\w.-]+)\s*(?:>=\s*([\w.]+)|==[\w.*]+)')


def main() -> None:
    """Read `pyproject.toml` and print a constraint a line."""
    file = Path(__file__).resolve().parents[1] / 'pyproject.toml'
    project = tomllib.loads(file.read_text(encoding='utf-8'))['project']
    extras = project['optional-dependencies']
    lines = [
        *project['dependencies'],
        *(one for e in extras.values() for one in e),
    ]
    for line in lines:
        if line.startswith('pyg_ckd['):
            continue
        found = BOUND.match(line)
        if found is None:
            sys.exit(f"{file.name}: '{line}' has no lower bound")
        if found[2] and found[1] != 'torch':
            marker = line.partition(';')[1:]
            print(f'{found[1]}=={found[2]}', *marker)


if __name__ == '__main__':
    main()
