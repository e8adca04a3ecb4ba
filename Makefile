# Every target does its own whole set-up: it needs Python 3.11 or newer, make, and nothing else.
# `make` alone explains itself. Another Python: make PYTHON=python3.12 test

PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
  $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && exit; done; echo python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SERVERS_STAMP := $(VENV)/.installed-servers
BENCH_STAMP := $(VENV)/.installed-bench

# Where it is set, each of the thousand processes that tests start would compile all of Mainspring: 0.1 s each.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help demo test quick check format reference docs servers bench bench-peers bench-mongo clean

help: ## Print this help.
	@echo "Mainspring. Two to begin with: make demo, make test"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## Run over 1,000 jobs through two worker processes, kill one of them, and check the result.
	@$(BIN)/python -m mainspring.demo

test: check $(SERVERS_STAMP) ## Run the checks and every test, the way CI does.
	@echo "== quick tests"
	@$(BIN)/python -m pytest -m "not slow" -n 2
	@echo "== slow tests: real processes, started and killed"
	@$(BIN)/python -m pytest -m slow -n 2

quick: $(STAMP) $(SERVERS_STAMP) ## Run the quick tests only.
	@$(BIN)/python -m pytest -m "not slow" -n 2

check: $(STAMP) ## Check format, lint and types; change nothing.
	@echo "== format, lint, types"
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary

format: $(STAMP) ## Format the code, and fix what the linter can.
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

reference: $(STAMP) ## Write what the documents repeat of the source: the reference, and the tests in the tutorial.
	@$(BIN)/python -m tests.docs.reference

docs: reference ## Build the site of the documents into site/. Needs no network once all is installed.
	@$(BIN)/python -m tests.docs.site site
	@echo "open site/index.html"

servers: $(STAMP) ## Fetch the Redis, Valkey and MongoDB servers that the tests start, into the virtual environment.
	@$(BIN)/python -m tests.servers.install
	@touch $(SERVERS_STAMP)

bench: $(BENCH_STAMP) $(SERVERS_STAMP) ## Measure throughput, latency and idle cost. Never part of the tests.
	@$(BIN)/python -m benchmarks

bench-peers: $(BENCH_STAMP) $(SERVERS_STAMP) ## Measure other queues on Redis beside ours, and write the page. Takes an hour or two.
	@$(BIN)/python -m benchmarks.peers

bench-mongo: $(BENCH_STAMP) $(SERVERS_STAMP) ## Measure the MongoDB store beside Celery on MongoDB and bare operations. Takes half an hour.
	@$(BIN)/python -m benchmarks.mongo

clean: ## Remove the virtual environment, the caches and what was built.
	@rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Mainspring needs Python 3.11 or newer, and $(PYTHON) is: $$($(PYTHON) --version 2>&1 || true)."; \
	  echo "Install it, or say where it is: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "== virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(STAMP): pyproject.toml | $(VENV)/bin/python
	@echo "== installing Mainspring and what its tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(SERVERS_STAMP): tests/servers/install.py tests/servers/binaries.py | $(STAMP)
	@echo "== Redis, Valkey and MongoDB servers for the tests"
	@$(BIN)/python -m tests.servers.install
	@touch $@

$(BENCH_STAMP): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,bench]'
	@touch $@
