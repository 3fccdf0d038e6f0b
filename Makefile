# Everything runs in .venv, made once from pyproject.toml. `make` alone lists the targets.
SHELL := /bin/bash
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/sotopia-pi
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help report seeds bench test test-fast lab lint clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

report: $(READY) ## the whole pipeline on a real model, to outputs/laptop/report/index.html
	@$(RUN) run params/laptop.yaml

seeds: $(READY) ## three seeds with larger evaluation sets, pooled
	@$(RUN) seeds params/seeds.yaml --seeds 0 1 2

bench: $(READY) ## speed beside what people use otherwise, to outputs/bench/13_bench/report.html; under an hour
	@$(RUN) bench

test: $(READY) ## all tests
	@$(PYTEST) -n 2 --dist worksteal -q

test-fast: $(READY) ## the tests that take seconds
	@$(PYTEST) -n 2 --dist worksteal -q -m "not slow"

lab: $(READY) ## JupyterLab on the notebooks
	@$(VENV)/bin/jupyter lab notebooks

lint: $(READY) ## ruff over code and notebooks
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

clean: ## remove the environment and caches; outputs/ stays
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find sotopia_pi tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@python=; \
	for candidate in python3.11 python3.12 python3.13 python3; do \
	  if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "No Python 3.11, 3.12 or 3.13 found. On Debian: apt-get install python3 python3-venv" >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$python lacks its venv module. On Debian: apt-get install python3-venv" >&2; exit 1; fi; \
	echo "Setting up $(VENV) with $$($$python --version) (once, about two minutes)"; \
	$$python -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -qq -e '.[dev]' || \
	  { echo "Installing failed; see the lines above. With a network, 'make' again continues." >&2; exit 1; }
	@touch $@
