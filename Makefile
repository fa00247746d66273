# Everything happens in `.venv`, made on first use. Options:
#   PYTHON  the interpreter `.venv` is made from (3.10 or newer)
#   TORCH   what `pip` installs as torch, e.g. `make test TORCH=torch==2.12.0`
#   SPARSE  what `pip` installs as torch-scatter and torch-sparse, such as wheels
#   ARGS    passed on to pytest or to benchmarks/run_all.py
PYTHON ?= python3
TORCH ?= torch==2.13.0
SPARSE ?= torch-scatter torch-sparse --no-build-isolation
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
HAS_TORCH := $(VENV)/.has-torch
HAS_RUN := $(VENV)/.has-run
HAS_TEST := $(VENV)/.has-test

.DEFAULT_GOAL := help
.PHONY: help test test-sparse benchmark format clean

help:  ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1: /p' Makefile

test: $(HAS_TEST)  ## Lint, type-check and run all tests.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 $(ARGS)

# As a second leg: with PyG's extensions, from wheels for this torch and Python.
test-sparse: $(HAS_TEST)  ## Run the tests of graph layers with torch-sparse.
	$(PIP) install --quiet --no-deps --upgrade --target $(VENV)/sparse $(SPARSE)
	PYTHONPATH=$(VENV)/sparse OMP_NUM_THREADS=1 $(BIN)/pytest -n auto \
	    --maxprocesses 4 tests/kernels tests/nn tests/balance $(ARGS)

benchmark: $(HAS_RUN)  ## Run the benchmarks, by default the small offline one.
	$(BIN)/python benchmarks/run_all.py $(ARGS)

format: $(HAS_TEST)  ## Format the code and fix what the linter can fix.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## Remove `.venv` and all caches, but no data and no results.
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up ######################################################################

$(HAS_TEST): pyproject.toml $(HAS_TORCH)
	$(PIP) install -e '.[test]'
	@touch $@ $(HAS_RUN)

$(HAS_RUN): pyproject.toml $(HAS_TORCH)
	$(PIP) install -e .
	@touch $@

# Torch comes first and by itself, so that nothing else decides which build:
$(HAS_TORCH): | $(BIN)/python
	$(PIP) install $(TORCH)
	@echo '$(TORCH)' > $@

# A `TORCH` given by the user replaces another one installed before:
ifneq ($(origin TORCH),file)
ifneq ($(TORCH),$(shell cat $(HAS_TORCH) 2>/dev/null))
.PHONY: $(HAS_TORCH)
endif
endif

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "pyg_ckd needs Python 3.10 or newer, and '$(PYTHON)' is not." \
	         "Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu it is in the" \
	         "package python3-venv." >&2; exit 1; }
