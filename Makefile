# Everything from nothing but python3: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: help venv demo test soak lint bench clean

help:
	@echo "make demo   invert, edit and rectify eight pictures the generator has never seen -> out/demo.png"
	@echo "make test   run the tests, a process for each core       make lint   run ruff and pyright"
	@echo "make test PYTHON=python3.10 VENV=.venv/3.10   the same on another Python"
	@echo "make soak   the long tests: full-size networks, kills, fuzzing, bad inputs, memory -> docs/promises.md"
	@echo "make bench  docs/performance*.md   make clean  remove what these targets made"

venv: $(STAMP)

# The exact torch goes first: kornia alone would pull whatever is newest.
$(STAMP): requirements.txt requirements-dev.txt constraints.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet "$(TORCH)" -c constraints.txt
	$(PY) -m pip install --quiet -r requirements.txt -r requirements-dev.txt -c constraints.txt
	touch $(STAMP)

demo: $(STAMP)
	$(PY) -m reganie_core demo -o out/demo.png

test: $(STAMP)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n auto --maxprocesses 8 --dist loadfile

soak: $(STAMP)
	$(PY) -m tests.soak

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m pyright --pythonpath $(PY)

bench: $(STAMP)
	$(PY) -m benchmarks
	$(PY) -m benchmarks --document docs/performance.md
	$(PY) -m benchmarks.training --document docs/performance-training.md

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
