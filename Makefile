# Everything here sets itself up: it needs Python 3.11 or newer, a C++20 compiler and a package index (PyPI).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Quoted, because the path may hold spaces; make itself cannot take them, so targets are named from here.
ROOT := "$(CURDIR)"
BIN := $(ROOT)/.venv/bin
PY := $(BIN)/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Datasets that lie beside the checkout are used where nothing else is named.
ifneq ($(wildcard ../shared/data),)
export FASTNN_DATA ?= $(CURDIR)/../shared/data
endif
# The checkout must not shadow the installed wheel, so every job runs from an empty folder.
RUN := mkdir -p build/run && cd build/run &&
PYTEST := $(RUN) $(PY) -m pytest -c $(ROOT)/pyproject.toml --rootdir $(ROOT)

.PHONY: help install demo test lint format docs bench ulp wheel soak clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

.venv/.ready: pyproject.toml tools/requirements.py
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "fastnn needs Python 3.11 or newer; set PYTHON=/path/to/python"; exit 1; }
	test -x .venv/bin/pip || "$(PYTHON)" -m venv .venv
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) tools/requirements.py build all test lint docs > .venv/requirements.txt
	$(PY) -m pip install --quiet -r .venv/requirements.txt
	touch $@

install: .venv/.ready  ## build fastnn and install it into .venv
	$(PY) -m pip install --quiet --no-build-isolation --no-deps --force-reinstall -Cbuild-dir=build/wheel .

demo: install  ## train a convolutional network on handwritten digits
	$(RUN) $(BIN)/fastnn train mnist --model lenet --compare-numpy --out $(ROOT)/runs/demo

test: install  ## run the tests against the installed wheel
	$(PYTEST) $(ROOT)/tests $(ARGS)

lint: .venv/.ready  ## ruff, type checker, Cython linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cython-lint --max-line-length 120 fastnn

format: .venv/.ready  ## let ruff format the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install  ## build the documentation site into site/
	$(RUN) NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet --config-file $(ROOT)/mkdocs.yml

bench: install  ## pytest-benchmark: every op and the demo's step against the NumPy reference
	$(PYTEST) $(ROOT)/benchmarks --benchmark-only $(ARGS)

ulp: install  ## error of functions of elements over all float32 numbers; writes docs/accuracy.md
	$(RUN) $(PY) $(ROOT)/tools/ulp.py --write $(ROOT)/docs/accuracy.md $(ARGS)

soak: install  ## kills while saving, disks that take nothing, steady work, 100,000 replays (ARGS="kills --kills 50")
	$(RUN) $(PY) $(ROOT)/tools/soak.py $(ARGS)

wheel: .venv/.ready  ## build an sdist and from it a wheel into dist/; try both in bare environments
	$(PY) tools/requirements.py package > .venv/package.txt
	$(PY) -m pip install --quiet -r .venv/package.txt
	rm -rf dist
	$(PY) tools/package.py dist

clean:  ## remove everything that was made
	rm -rf build dist site .venv runs
