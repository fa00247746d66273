"""``python -m pyg_ckd`` is the command ``pyg-ckd``."""

import sys

from pyg_ckd.experiments.cli import main

if __name__ == '__main__':
    sys.exit(main())
