"""Trains recommenders with and without CKD and reports what came out.

    python benchmarks/run_all.py
    python benchmarks/run_all.py --dataset baby --root data --backbone VBPR \
        --method base teachers ckd --seed 0 1 2

It is ``pyg-ckd run``, with results in the repository's folder ``results``.
Without arguments it runs a synthetic data set, offline, in a few minutes.
"""

import sys
from pathlib import Path

from pyg_ckd.experiments.cli import main

RESULTS = Path(__file__).resolve().parents[1] / 'results'

if __name__ == '__main__':
    sys.exit(main(['run', '--results', str(RESULTS), *sys.argv[1:]]))
