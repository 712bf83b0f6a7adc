# Everything runs from a fresh clone: each target makes .venv and installs what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One more than there are cores: a third of the time a test waits, for servers and for other processes.
PROCESSES ?= $(shell expr 1 + $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2))
# The tests start Python hundreds of times: each start would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
BENCH := $(BIN)/python benchmarks
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help demo demo-flow test suite proofs coverage check bench bench-peers bench-scale bench-flows bench-pages bench-cron diagrams docs sql columns options stubs truth year simulate soak mutants explore soak-processes clean

help:
	@echo "make demo   run real jobs for a few seconds, with a worker killed half-way"
	@echo "make demo-flow  deploy a flow's next version through 1,000 live orders, with workers killed all the while"
	@echo "make test   lint, types, layers and all tests"
	@echo "make proofs   whole what make test does a slice of: properties, fuzz, mutants (MORE=20 times the examples)"
	@echo "make coverage  the tests once more, and which lines and branches they reach"
	@echo "make check  lint, types and layers only"
	@echo "make soak-processes  workers killed and stopped under load (SECONDS=90 SEEDS='1 2')"
	@echo "make bench  measure beside a hand-written loop and huey, and write docs/performance.md (ARGS=--quick, --dry)"
	@echo "make bench-peers  the same beside the peers; installs them into benchmarks/.peers"
	@echo "make bench-scale  files with a million runs, several workers"
	@echo "make bench-flows  steps of a flow beside a hand-written loop and DBOS"
	@echo "make bench-pages  write the pages again from the raw results"
	@echo "make bench-cron  what the next occurrence costs beside croniter and cronsim"
	@echo "make diagrams    draw the lifecycles again, after a change of a declaration"
	@echo "make sql         write docs/sql.md anew, after a change of a declaration or a statement"
	@echo "make docs        build the pages as a site in build/site, with warnings as errors"
	@echo "make options     write the options in docs/reference.md anew, after a change of a command"
	@echo "make stubs       write the synchronous API's types anew, after a change of the asynchronous one"
	@echo "make truth       write docs/cron-truth.md anew"
	@echo "make simulate SEED=7  play one history of the simulator, and print it (STEPS=50: its beginning; SETTING=embedded)"
	@echo "make soak     play 100,000 histories (HISTORIES=..., FIRST=the first seed, SETTING=embedded)"
	@echo "make mutants  put defects in on purpose, and tell which invariant catches each"
	@echo "make explore  every interleaving of small worlds"
	@echo "make year        a year of recurring jobs in six zones, with ticks late, doubled or lost (minutes)"

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

$(VENV)/.docs: pyproject.toml $(VENV)/.dev
	@$(PIP) --group docs
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/python examples/demo/demo.py

demo-flow: $(VENV)/.demo
	@$(BIN)/python examples/flow_demo/demo.py $(ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Side by side: mypy alone takes one core for most of a minute.
test: $(VENV)/.dev
	@$(MAKE) --no-print-directory --jobs 2 check suite

suite: $(VENV)/.dev
	@KUMOFIRE_SLICE=$${KUMOFIRE_SLICE:-$$(git log -1 --format=%ct 2>/dev/null || echo 0)} $(BIN)/pytest -n $(PROCESSES) --no-loadscope-reorder $(ARGS)

MORE ?= 20

proofs: $(VENV)/.dev
	@KUMOFIRE_MORE=$(MORE) $(BIN)/pytest -n $(PROCESSES) --no-loadscope-reorder tests/simulation/test_mutants.py \
	  tests/simulation/test_explore.py tests/fuzz tests/machines tests/schedules tests/flows tests/testing \
	  tests/drawing tests/api/test_year.py tests/api/test_policies.py tests/api/test_same_value.py \
	  tests/cli/test_d1_literals.py tests/workerd/test_migrations.py \
	  tests/workerd/test_d1_commands.py tests/workerd/test_deploy.py \
	  tests/processes/test_demo.py tests/processes/test_flow_demo.py tests/processes/test_forks_and_exits.py \
	  tests/processes/test_killed_workers.py tests/processes/test_several_workers.py $(ARGS)

coverage: check
	@$(BIN)/pytest -n $(PROCESSES) --no-loadscope-reorder --cov --cov-report=term

bench: $(VENV)/.dev
	@$(BENCH)/bench.py $(ARGS)

bench-peers: $(VENV)/.dev
	@$(BENCH)/bench_peers.py $(ARGS)

bench-scale: $(VENV)/.dev
	@$(BENCH)/bench_scale.py $(ARGS)

bench-flows: $(VENV)/.dev
	@$(BENCH)/bench_flows.py $(ARGS)

bench-pages: $(VENV)/.dev
	@$(BENCH)/publishing.py

diagrams: $(VENV)/.dev
	@$(BIN)/python diagrams/renew.py

sql: $(VENV)/.dev
	@$(BIN)/python tests/support/sql_page.py > docs/sql.md

columns: $(VENV)/.dev
	@$(BIN)/python tests/support/columns_page.py

options: $(VENV)/.dev
	@$(BIN)/python tests/support/options_page.py

stubs: $(VENV)/.dev
	@$(BIN)/python tests/support/sync_stub.py > kumofire_fsm/work/sync_jobs.pyi
	@$(BIN)/ruff check --quiet --fix-only kumofire_fsm/work/sync_jobs.pyi
	@$(BIN)/ruff format --quiet kumofire_fsm/work/sync_jobs.pyi

# Not a part of `make check`: it takes some 15 s of processor time. tests/docs/test_site.py looks at links and the index.
docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python docs/site/build.py

bench-cron: $(VENV)/.dev
	@$(BIN)/python benchmarks/cron_bench.py

truth: $(VENV)/.dev
	@$(BIN)/python tests/support/cron_truth.py > docs/cron-truth.md

SIMULATION = PYTHONPATH=.:tests $(BIN)/python -m simulation
SEED ?= 1
SETTING ?= workers
HISTORIES ?= 100000
FIRST ?= 1000000

simulate: $(VENV)/.dev
	@$(SIMULATION) simulate --seed $(SEED) --setting $(SETTING) $(if $(STEPS),--steps $(STEPS))

soak: $(VENV)/.dev
	@$(SIMULATION) soak --histories $(HISTORIES) --first $(FIRST) --setting $(SETTING)

mutants: $(VENV)/.dev
	@$(SIMULATION) mutants

explore: $(VENV)/.dev
	@$(SIMULATION) explore

SECONDS ?= 90
SEEDS ?= 1

soak-processes: $(VENV)/.dev
	@KUMOFIRE_SOAK_SECONDS=$(SECONDS) KUMOFIRE_SEEDS="$(SEEDS)" \
	  $(BIN)/python -m pytest -q -s tests/processes/test_soak.py

year: $(VENV)/.dev
	@$(BIN)/python tests/support/year.py

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
