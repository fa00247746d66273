# Everything happens in `.venv`, made on first use. Options:
#   PYTHON  the interpreter `.venv` is made from (3.10 or newer)
#   TORCH   what `pip` installs as torch, e.g. `make test TORCH=torch==2.12.0`
#   SPARSE  what `pip` installs as torch-scatter and torch-sparse, such as wheels
#   FRESH   an environment with torch for `make wheel`, by default a new one
#   ARGS    passed on to pytest, benchmarks/run_all.py or benchmarks/speed.py
PYTHON ?= python3
TORCH ?= torch==2.13.0
SPARSE ?= torch-scatter torch-sparse --no-build-isolation
FRESH ?=
ARGS ?=

VENV := .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
HAS_TORCH := $(VENV)/.has-torch
HAS_RUN := $(VENV)/.has-run
HAS_TEST := $(VENV)/.has-test
HAS_LOWEST := $(VENV)/.has-lowest
HAS_DOCS := $(VENV)/.has-docs
SPHINX := OMP_NUM_THREADS=1 $(BIN)/sphinx-build -q -E -d build/doctrees

.DEFAULT_GOAL := help
.PHONY: help test test-lowest lowest test-sparse wheel docs links benchmark speed format clean

help:  ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1: /p' Makefile

test: $(HAS_TEST)  ## Lint, type-check and run all tests.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell $$(git ls-files '*.md' '*.py' '*.ipynb' '*.toml')
	$(BIN)/mypy
	$(BIN)/deptry .
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 $(ARGS)

# Torch, too, unless `TORCH` says otherwise: its lower bound may be a download of
# gigabytes, with all of CUDA.
test-lowest:  ## Run all tests with each dependency at its lower bound.
	@$(MAKE) --no-print-directory VENV=$(LOWEST) lowest \
	    TORCH='$(if $(filter file,$(origin TORCH)),$(LOWEST_TORCH),$(TORCH))'

lowest: $(HAS_LOWEST)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 $(ARGS)

LOWEST_TORCH = $(shell sed -n 's/^ *"torch>=\(.*\)",/torch==\1/p' pyproject.toml)

# As a second leg: with PyG's extensions, from wheels for this torch and Python.
test-sparse: $(HAS_TEST)  ## Run the tests of graph layers with torch-sparse.
	$(PIP) install --quiet --no-deps --upgrade --target $(VENV)/sparse $(SPARSE)
	PYTHONPATH=$(VENV)/sparse OMP_NUM_THREADS=1 $(BIN)/pytest -n auto \
	    --maxprocesses 4 tests/kernels tests/nn tests/balance $(ARGS)

# What a user does is done in a new environment, or in one that FRESH names.
wheel: $(HAS_TEST)  ## Build the distributions, and try the wheel.
	TORCH='$(TORCH)' $(BIN)/python .ci/wheel.py $(FRESH)

docs: $(HAS_DOCS)  ## Build the site in `build/site`; warnings are errors.
	rm -rf docs/api/generated
	$(SPHINX) -W --keep-going -b html docs build/site

links: $(HAS_DOCS)  ## Ask every address that the site names whether it answers.
	$(SPHINX) -b linkcheck docs build/links

benchmark: $(HAS_RUN)  ## Run the benchmarks, by default the small offline one.
	$(BIN)/python benchmarks/run_all.py $(ARGS)

# In one thread, as what is kept; it takes a quarter of an hour.
speed: $(HAS_RUN)  ## Measure costs as ratios, and fail if they are worse than those kept.
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed.py \
	    --against benchmarks/results/speed.json $(ARGS)

format: $(HAS_TEST)  ## Format the code and fix what the linter can fix.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## Remove environments and all caches, but no data and no results.
	rm -rf $(VENV) $(LOWEST) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up ######################################################################

$(HAS_TEST): pyproject.toml $(HAS_TORCH)
	$(PIP) install -e '.[test]'
	@touch $@ $(HAS_RUN)

$(HAS_LOWEST): pyproject.toml .ci/lowest.py $(HAS_TORCH)
	$(BIN)/python .ci/lowest.py > $(VENV)/lowest.txt
	$(PIP) install --constraint $(VENV)/lowest.txt -e '.[test]'
	@touch $@

$(HAS_DOCS): pyproject.toml $(HAS_TORCH)
	$(PIP) install -e '.[docs]'
	@touch $@

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
