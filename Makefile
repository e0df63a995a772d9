# Every target makes what it needs: a Python 3.11 or newer with the venv module, and make, are enough.
# Overridable: PYTHON (which Python makes the environment), VENV (where it is), ARGS (handed to the command),
# JOBS (processes that run the tests; 0: in this one).

PYTHON ?= $(shell scripts/find-python $(firstword $(MAKECMDGOALS)))
VENV ?= .venv
ARGS ?=
JOBS ?= 2

BIN := $(VENV)/bin
LOCKS := requirements/run.lock requirements/test.lock requirements/dev.lock
# A stamp says that the environment holds what a lock lists. It is older than the lock when the lock has changed.
RUN := $(VENV)/.run-installed
TEST := $(VENV)/.test-installed
DEV := $(VENV)/.dev-installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check cover bench conformance faults chaos fuzz format docs site lock build wheel-test clean

help: ## say what there is
	@echo "OMEGA BTC AI. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo "Options: PYTHON=python3.12 chooses the Python, ARGS='...' adds arguments, JOBS=4 tests in four processes."

run: $(RUN) ## start the feed: ws://localhost:8765, wss://localhost:8766, http://localhost:8767
	@$(BIN)/omega serve --source live --fallback simulated --log-format console $(ARGS)

test: $(TEST) ## run the whole test suite
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

check: $(DEV) ## lint, format, types, borders between the parts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

cover: $(TEST) ## run the test suite and say what it does not reach
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered $(ARGS)

bench: $(TEST) ## measure the way in, the brokers, and the server against others (ARGS=--quick: 3 minutes)
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/broker.py
	$(BIN)/python -m benchmarks.server $(ARGS)

conformance: $(TEST) ## have the Autobahn test suite judge the server and the client
	$(BIN)/python -m omega_ai.tests.conformance.autobahn server $(ARGS)
	$(BIN)/python -m omega_ai.tests.conformance.autobahn client $(ARGS)

faults: $(TEST) ## disturb a real feed for a while, and account for every message (ARGS=--help says how)
	$(BIN)/python -m omega_ai.tests.faults $(ARGS)

fuzz: $(TEST) ## feed bytes to every parser for eight minutes (ARGS='--minutes 60', --seed N)
	$(BIN)/python -m omega_ai.tests.fuzz $(ARGS)

chaos: $(TEST) ## let the feed live through hours of chaos in virtual time (ARGS='--hours 5', '--seed N')
	$(BIN)/python -m omega_ai.tests.simnet $(ARGS)

format: $(DEV) ## put the code in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(TEST) ## write the references anew from the code: commands, toxics, settings, messages, codes
	$(BIN)/python scripts/commands_reference.py
	$(BIN)/python scripts/toxics_reference.py
	$(BIN)/python scripts/references.py

site: $(DEV) ## build the documents as a site: build/site/index.html
	$(BIN)/python scripts/site.py $(ARGS)

build: $(DEV) ## make the wheel and the source archive in dist/
	$(BIN)/python -m hatchling build

wheel-test: $(DEV) ## install the wheel into an empty environment from the package index, and use it
	OMEGA_WHEEL_TEST=index $(BIN)/python -m pytest omega_ai/tests/integration/release -v $(ARGS)

lock: $(DEV) ## write requirements/*.lock anew from pyproject.toml (UPGRADE=1 takes newer versions)
	VENV=$(VENV) UPGRADE=$(UPGRADE) scripts/lock

clean: ## remove the environment and everything made by the other targets
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache \
	    .hypothesis .import_linter_cache reports
	find omega_ai benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN): requirements/run.lock pyproject.toml
	@scripts/install $(VENV) run "$(PYTHON)"
	@touch $@

# What a larger set installs holds the smaller ones too: the locks agree on every version.
$(TEST): requirements/test.lock pyproject.toml
	@scripts/install $(VENV) test "$(PYTHON)"
	@touch $(RUN) $@

$(DEV): requirements/dev.lock pyproject.toml
	@scripts/install $(VENV) dev "$(PYTHON)"
	@touch $(RUN) $(TEST) $@
