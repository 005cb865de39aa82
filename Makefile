# Everything runs in .venv, which the targets make when it is missing or setup.cfg has changed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Processes the tests are spread over. They mostly wait: more than there are cores.
JOBS ?= 4
# Tests of what happens when things break: real faults, which take their time. With CI set there is
# more of it: 10 kills at each crash point, 500 random histories per topology. The longest come first.
RELIABILITY := tests/crashpoints tests/statemachine tests/faults tests/chaos
MINUTES ?= 10
CHAOS_SECONDS ?= 90
SEED ?=
# Where the numbers go that the pages are made from.
PERFORMANCE := docs/performance/results.json
SCALING := docs/scaling/results.json
# More options for pytest, such as ARGS='-k cluster'.
ARGS ?=

PIP := -m pip install --quiet --disable-pip-version-check
DEV := .venv/stamp-dev
RPC := .venv-rpc/stamp-dev
RUN := .venv/stamp-run

.PHONY: help
help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 20

.PHONY: run
run: $(RUN) ## Run an example against a server that comes with it; no Redis needed.
	.venv/bin/python -m examples.linkcheck

.PHONY: test
test: $(DEV) $(RPC) ## Run the tests, here and with redis-py-cluster, and check the coverage.
	.venv/bin/python -m tests.support.run -n $(JOBS) --coverage --rpc .venv-rpc/bin/python -- \
		$(addprefix --ignore=,$(RELIABILITY)) $(ARGS)

.PHONY: test-reliability
test-reliability: $(DEV) ## Kill, cut off, freeze and fill up what pytask depends on; count what is lost.
	.venv/bin/python -m tests.support.run -n $(JOBS) --limit 2400 -- $(RELIABILITY) $(ARGS)

.PHONY: test-chaos
test-chaos: $(DEV) ## Random faults for CHAOS_SECONDS=90, on one server and on a cluster side by side.
	CHAOS_SECONDS=$(CHAOS_SECONDS) $(if $(SEED),CHAOS_SEED=$(SEED)) .venv/bin/python -m tests.support.run \
		-n 1 --limit 1200 -- -m chaos -k 'not mutant' tests/chaos/test_chaos.py $(ARGS)

.PHONY: chaos
chaos: $(DEV) ## Random faults for MINUTES=10 on one server, then on a cluster; SEED=n replays a run.
	.venv/bin/python -m tests.chaos --topology single --minutes $(MINUTES) \
		--keep chaos-results $(if $(SEED),--seed $(SEED))
	.venv/bin/python -m tests.chaos --topology cluster --minutes $(MINUTES) \
		--keep chaos-results $(if $(SEED),--seed $(SEED))

.PHONY: chaos-mutants
chaos-mutants: $(DEV) ## Remove each guard of each script and see that somebody notices.
	@mkdir -p chaos-results
	.venv/bin/python -m tests.chaos.mutation_run --keep chaos-results/mutants.json

.PHONY: chaos-numbers
chaos-numbers: $(DEV) ## Measure recovery, fencing, stops and leaks at full size: about 12 minutes.
	.venv/bin/python -m tests.chaos.numbers --size full $(ARGS)

.PHONY: chaos-report
chaos-report: $(DEV) ## Write docs/reliability/chaos.md from what these three left in chaos-results.
	.venv/bin/python -m tests.chaos.report

.PHONY: test-rpc
test-rpc: $(DEV) $(RPC) ## Run only what needs redis-py 3.5 and redis-py-cluster 2.1.
	.venv/bin/python -m tests.support.run --only-rpc --rpc .venv-rpc/bin/python -- $(ARGS)

.PHONY: lint
lint: $(DEV) ## Check style, format and types.
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy --strict pytask examples benchmarks

.PHONY: format
format: $(DEV) ## Rewrite the code in the project's style.
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

.PHONY: docs
docs: $(DEV) ## Build the documentation; warnings are errors.
	.venv/bin/python -m sphinx -W --keep-going -b html docs docs/_build/html

.PHONY: bench
bench: $(RUN) ## Measure pytask and its peers side by side, half an hour; write docs/performance.
	@mkdir -p $(dir $(PERFORMANCE))
	.venv/bin/python -m benchmarks.peers --upgrade --json $(PERFORMANCE) $(ARGS)
	.venv/bin/python -m benchmarks.peers.page $(PERFORMANCE)

.PHONY: bench-scaling
bench-scaling: $(RUN) ## Measure how cost grows, up to a million tasks; write docs/scaling.
	@mkdir -p $(dir $(SCALING))
	.venv/bin/python -m benchmarks.scaling --json $(SCALING) $(ARGS)
	.venv/bin/python -m benchmarks.scaling.page $(SCALING)

.PHONY: bench-own
bench-own: $(RUN) ## Measure throughput and latency of pytask alone: about three minutes.
	.venv/bin/python -m benchmarks $(ARGS)

.PHONY: clean
clean: ## Remove environments, caches and what was built.
	rm -rf .venv .venv-rpc .venv-bench build dist docs/_build htmlcov *.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*
	find pytask tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments. The stamps make the tools reinstall exactly when the requirements change.

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv-rpc/bin/python:
	$(PYTHON) -m venv .venv-rpc

$(RUN): setup.cfg pyproject.toml | .venv/bin/python
	.venv/bin/python $(PIP) --editable '.[embedded,examples]'
	@touch $@

$(DEV): setup.cfg pyproject.toml | .venv/bin/python
	.venv/bin/python $(PIP) --editable '.[embedded,examples,test,docs,lint]'
	@touch $(RUN) $@

$(RPC): setup.cfg pyproject.toml | .venv-rpc/bin/python
	.venv-rpc/bin/python $(PIP) --editable '.[redis-py-cluster,embedded,examples,test]'
	@touch $@
