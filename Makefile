# Everything a person does with this repository. A fresh clone needs Python 3.11+, git and make: each target first
# makes `.venv` (again only when pyproject.toml or setup.py changed).

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PACKAGES := actors supervisors runtime
AROUND := $(patsubst %/,%,$(sort $(dir $(wildcard tests/*.py examples/*.py benchmarks/*.py))))
MYPY := $(BIN)/mypy --python-executable .cache/types/bin/python

# What `make run` runs, as file:name or module:name, and for how many seconds.
TREE ?= examples/02_crash_and_restart.py:tree
FOR ?= 10
# Options for pytest, for example: make test ARGS="-k mailbox -x"
ARGS ?=
# Two test processes: more start slower than they gain. Tests of one xdist_group share a process.
PYTEST := $(BIN)/pytest -n 2 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help run test check format lint types bench clean

help:  ## Show this list.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(STAMP)  ## Run a tree for FOR seconds (TREE=file:name FOR=10).
	$(BIN)/ringfence run $(TREE) --for-s $(FOR)

test: $(STAMP)  ## Run all tests (ARGS="-k mailbox -x").
	$(PYTEST) $(ARGS)

check: format lint types $(STAMP)  ## Format, lint, types of the installed wheel, import law, fast tests.
	$(PYTEST) -m "not slow" $(ARGS)

format: $(STAMP)
	$(BIN)/ruff format --check .

lint: $(STAMP)
	$(BIN)/ruff check .

# Type checkers do not follow an editable install of mapped folders, so the wheel is built and installed first. That
# also proves that the wheel is complete. Paths inside it are shown as the files they were made from. The last line
# checks the code around the packages against that wheel.
types: $(STAMP)
	$(BIN)/python tests/typed/installed.py >/dev/null
	@$(MYPY) $(PACKAGES:%=-p ringfence.%) >.cache/types.txt; code=$$?; \
	  sed 's|^.cache/types/lib/[^/]*/site-packages/ringfence/||' .cache/types.txt; exit $$code
	$(MYPY) $(AROUND)

bench: $(STAMP)  ## Measure us against a bare floor and against peers (ARGS="--quick --only W1").
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[bench]'
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## Remove everything that `make` made.
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info .coverage .coverage.*
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(STAMP): pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev]'
	@touch $@
