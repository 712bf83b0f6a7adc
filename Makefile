# Everything runs from a fresh clone: each target makes .venv and installs what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help demo test check bench bench-cron diagrams truth clean

help:
	@echo "make demo   run real jobs for a few seconds, with a worker killed half-way"
	@echo "make test   lint, types, layers and all tests"
	@echo "make check  lint, types and layers only"
	@echo "make bench  jobs a second beside a hand-written loop and huey"
	@echo "make bench-cron  what the next occurrence costs beside croniter and cronsim"
	@echo "make diagrams    draw the lifecycles again, after a change of a declaration"
	@echo "make truth       write docs/cron-truth.md anew"

$(VENV)/.demo: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "kumofire_fsm needs Python 3.11 or newer; set PYTHON=python3.12, say"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[cli]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.demo
	@$(BIN)/python -m pip --version | grep -qE 'pip (2[5-9]|[3-9][0-9])' || $(PIP) --upgrade pip
	@$(PIP) --editable '.[cli,diagrams]' --group dev
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/kumofire demo

check: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test: check
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest
	@$(BIN)/coverage combine --quiet && $(BIN)/coverage report

bench: $(VENV)/.dev
	@$(BIN)/python benchmarks/bench.py

diagrams: $(VENV)/.dev
	@$(BIN)/python diagrams/renew.py

bench-cron: $(VENV)/.dev
	@$(BIN)/python benchmarks/cron_bench.py

truth: $(VENV)/.dev
	@$(BIN)/python tests/support/cron_truth.py > docs/cron-truth.md

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
