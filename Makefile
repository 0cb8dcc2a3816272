# Everything here sets itself up: it needs Python 3.11 or newer, a C++20 compiler and the package registry.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := $(CURDIR)/.venv
PY := $(VENV)/bin/python
export PATH := $(VENV)/bin:$(PATH)
# Datasets that lie beside the checkout are used where nothing else is named.
ifneq ($(wildcard ../shared/data),)
export FASTNN_DATA ?= $(abspath ../shared/data)
endif
# The checkout must not shadow the installed wheel, so every job runs from an empty folder.
RUN := mkdir -p build/run && cd build/run &&
PYTEST := $(RUN) $(PY) -m pytest -c $(CURDIR)/pyproject.toml --rootdir $(CURDIR)

.PHONY: help install demo test lint format bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

$(VENV)/.ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "fastnn needs Python 3.11 or newer; set PYTHON=/path/to/python"; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) tools/requirements.py build all test lint > $(VENV)/requirements.txt
	$(PY) -m pip install --quiet -r $(VENV)/requirements.txt
	touch $@

install: $(VENV)/.ready  ## build fastnn and install it into .venv
	$(PY) -m pip install --quiet --no-build-isolation --no-deps --force-reinstall -Cbuild-dir=build/wheel .

demo: install  ## train a network on handwritten digits
	$(RUN) $(VENV)/bin/fastnn train mnist --compare-numpy --out $(CURDIR)/runs/demo

test: install  ## run the tests against the installed wheel
	$(PYTEST) $(CURDIR)/tests $(ARGS)

lint: $(VENV)/.ready  ## ruff, type checker, Cython linter
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/cython-lint --max-line-length 120 fastnn

format: $(VENV)/.ready  ## let ruff format the sources
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: install  ## pytest-benchmark: every op and the demo's step against the NumPy reference
	$(PYTEST) $(CURDIR)/benchmarks --benchmark-only $(ARGS)

clean:  ## remove everything that was made
	rm -rf build dist .venv runs
