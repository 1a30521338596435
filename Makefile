# Two commands for a newcomer: `make demo` and `make test`. Each sets up .venv by itself.
PYTHON ?= python3
# One more than cores: tests wait for processes and servers.
JOBS ?= 3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# tf_keras goes with one release of TensorFlow, and asks for the package that is not -cpu.
TF_KERAS := from importlib.metadata import version; print(version('tensorflow-cpu').rpartition('.')[0] + '.0')

.PHONY: help demo docs test check mypy pyright soak fuzz chaos bench bench-plots clean
.DEFAULT_GOAL := help

help:  ## this page
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

.venv/created:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "zarrfeed needs Python 3.11 to 3.13, this is %d.%d: try make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	@touch $@

# A stamp is older than pyproject.toml when the ranges may have changed: then pip looks again.
.venv/for-demo: pyproject.toml | .venv/created
	$(PIP) -e '.[tensorflow-cpu]'
	@touch $@

.venv/for-dev: pyproject.toml | .venv/created
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps "tf_keras~=$$($(BIN)/python -c "$(TF_KERAS)")"
	@touch $@ .venv/for-demo

.venv/for-plots: .venv/for-dev
	$(PIP) matplotlib
	@touch $@

# One package at a time: one that cannot be had here must not keep the others away.
.venv/for-bench: benchmarks/requirements.txt .venv/for-dev | .venv/created
	@sed 's/ *#.*//; /^$$/d' $< | while read -r package; do \
		$(PIP) "$$package" < /dev/null || echo "not installed, and so not measured: $$package"; done
	$(PIP) --no-deps mosaicml-streaming || echo "not installed, and so not measured: mosaicml-streaming"
	@touch $@

demo: .venv/for-demo  ## make cells, pack them, train a small U-Net, show what it predicts (< 3 min)
	$(BIN)/zarrfeed demo

docs: .venv/for-dev  ## the documentation, in docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

test: .venv/for-dev  ## the whole suite, by JOBS=3 processes
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

soak: .venv/for-dev  ## long runs: nothing grows over hundreds of epochs; what `test` tries on few backends, on all
	TMPDIR=$${TMPDIR:-/tmp} $(BIN)/python -m pytest -m soak  # gigabytes: not in memory

fuzz: .venv/for-dev  ## mutated stores and sources by the 10,000s (half an hour; SEED=…, COUNT=… of each)
	$(if $(SEED),SEED=$(SEED)) $(if $(COUNT),COUNT=$(COUNT)) $(BIN)/python -m pytest -m fuzz -s -o faulthandler_timeout=0

chaos: .venv/for-dev  ## kill workers, parents and conversions, fail system calls (SEED=…, SECONDS=600)
	$(if $(SEED),SEED=$(SEED)) $(if $(SECONDS),SECONDS=$(SECONDS)) $(BIN)/python -m pytest -m chaos -s -o faulthandler_timeout=0

check: .venv/for-dev  ## ruff, mypy strict, pyright, the documentation, then the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory -j2 mypy pyright
	@$(MAKE) --no-print-directory docs
	@$(MAKE) --no-print-directory test

mypy pyright: .venv/for-dev
	$(BIN)/$@

# A quick look does with the peers that the tests need anyway.
bench: .venv/for-$(if $(QUICK),dev,bench)  ## zarrfeed, its peers and the limits in one run (hours; QUICK=1: minutes)
	$(BIN)/python benchmarks/bench.py $(if $(QUICK),--quick) --lines bench.jsonl

bench-plots: .venv/for-plots  ## draw what `make bench` and benchmarks/scan.py found, in plots/
	$(BIN)/python benchmarks/plot.py bench.jsonl $(wildcard scan.jsonl benchmarks/results/growth.csv) --out plots

clean:  ## remove what the commands above made
	find docs/formats -type f ! -name index.md -delete
	rm -rf docs/_build docs/reference/api docs/reference/commands
	rm -rf .venv demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
