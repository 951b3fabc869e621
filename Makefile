# Doorward: everything a person or a build machine does. `make` alone says what there is.
# Variables: PYTHON (3.11 or newer), VENV (where packages go), CONFIG (for run), ARGS (passed on).

PYTHON ?= python3
VENV ?= .venv
CONFIG ?= config/minimal.yaml
ARGS ?=

PY := $(VENV)/bin/python
DOORWARD := $(VENV)/bin/doorward
# The stamps are newer than these as long as what is installed is what they ask for.
INSTALLED := pyproject.toml setup.py proxy/doorward/http1/_heads.pyx
RUN_STAMP := $(VENV)/.installed-to-run
TEST_STAMP := $(VENV)/.installed-to-test
DOCS_STAMP := $(VENV)/.installed-to-document
CLIENTS := tests/clients/node_modules

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test quick coverage fault fuzz check format docs screenshots bench run constraints

help: ## List these targets.
	@echo "Doorward. What you can make:"
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-19s %s\n", $$1, $$2 }'
	@echo
	@echo "The first run of each makes a virtual environment in $(VENV) (VENV=… puts it elsewhere)."

demo: $(RUN_STAMP) ## Start a temporary Doorward in front of a small guest book and print how to log in.
	$(DOORWARD) demo $(ARGS)

# Four at a time even on two cores: most of their time they wait for processes that they started.
test: $(TEST_STAMP) $(CLIENTS) ## Run every test; ARGS="-k cookie" picks some.
	$(PY) -m pytest -n 4 --dist loadfile --no-loadscope-reorder -p tests.plugins.no_skips $(ARGS)

quick: $(TEST_STAMP) ## Run the tests that need no socket, browser, other process or database server.
	$(PY) -m pytest -n 2 --dist worksteal -m "not outside" $(ARGS)

# Counting branches takes as much CPU again as the tests do.
coverage: $(TEST_STAMP) $(CLIENTS) ## Run every test and measure which branches of the code they take.
	$(MAKE) test ARGS="--cov --cov-report=term:skip-covered $(ARGS)"

fault: $(TEST_STAMP) ## Inject each fault that Doorward has to survive, five times, and print the results.
	FAULT_ROUNDS=5 $(PY) -m pytest -m fault -p tests.plugins.faults $(ARGS)

fuzz: $(TEST_STAMP) ## Compare the readers of message heads on a million heads; ARGS="--cases 5000 --seed 1".
	$(PY) -m tests.fuzz $(ARGS)

check: $(TEST_STAMP) ## Lint code and prose, and check formatting and types, changing nothing.
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m tools.prose

format: $(TEST_STAMP) ## Format the code and repair what the linter can repair.
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(DOCS_STAMP) ## Build the documentation in build/site, and check its links.
	$(PY) -m tools.site

screenshots: $(TEST_STAMP) ## Draw the pictures of the documentation from a running Doorward.
	$(PY) -m tools.screenshots

bench: $(RUN_STAMP) ## Measure CPU per request beside other proxies; ARGS="--case different --only doorward,go".
	$(PY) benchmarks/run.py $(ARGS)

constraints: ## Pin the newest versions that pyproject.toml allows in constraints.txt, for the image.
	rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	build/constraints/bin/pip install --quiet '.[postgresql]'
	{ sed -n '/^#/p' constraints.txt; build/constraints/bin/pip freeze --exclude doorward; } > build/constraints.txt
	mv build/constraints.txt constraints.txt && rm -rf build/constraints

run: $(RUN_STAMP) ## Serve config/minimal.yaml, or the file named by CONFIG=….
	$(DOORWARD) serve -c $(CONFIG) $(ARGS)

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Doorward needs Python 3.11 or newer, and '$(PYTHON)' is not: name another one, as in make PYTHON=python3.12 test" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV)/bin; \
	  echo "No virtual environment could be made in $(VENV); on Debian and Ubuntu, install python3-venv." >&2; exit 2; }

# pip says nothing of what it downloads, unless it fails.
INSTALLING := echo "Installing into $(VENV). The first time, this takes a few minutes."

$(RUN_STAMP): $(INSTALLED) | $(PY)
	@$(INSTALLING)
	$(PY) -m pip install --quiet --editable .
	@touch $@

# What the tests need contains what running needs.
$(TEST_STAMP): $(INSTALLED) | $(PY)
	@$(INSTALLING)
	$(PY) -m pip install --quiet --editable '.[test]'
	@touch $(RUN_STAMP) $@

$(DOCS_STAMP): $(INSTALLED) | $(PY)
	@$(INSTALLING)
	$(PY) -m pip install --quiet --editable '.[docs]'
	@touch $(RUN_STAMP) $@

# Clients that others wrote. Without npm, or without a way to its registry, their tests are skipped.
$(CLIENTS): tests/clients/package.json
	@if command -v npm >/dev/null; then \
	  npm install --prefix tests/clients --silent --no-audit --no-fund --no-package-lock --ignore-scripts && touch $@ || \
	  echo "The clients in tests/clients could not be installed; their tests will be skipped." >&2; \
	else echo "npm is not installed; the tests that need clients from there will be skipped." >&2; fi
