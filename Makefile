# make demo    set up, and see the main job done on real parts in under three minutes
# make check   lint, format, types, unit tests: about a minute
# make test    set up, and everything
# make snapshots  work out anew what infra/ would deploy (needs bicep)
PYTHON := .venv/bin/python

.PHONY: help setup demo test check bench lint types snapshots

help:
	@sed -n 's/^# make /make /p' Makefile

setup:
	@scripts/setup.sh test

demo:
	@scripts/setup.sh demo
	@$(PYTHON) -m scripts.demo

lint:
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

types:
	@.venv/bin/mypy

check: lint types
	@$(PYTHON) -m pytest -q tests/unit

# pytest comes last, so that its closing line is the last line. Three at once: a test mostly waits for servers of its own.
test: setup lint types
	@$(PYTHON) -m pytest -q -n 3 --dist loadfile

bench: setup
	@$(PYTHON) -m tests.benchmarks

snapshots:
	@$(PYTHON) -m scripts.snapshots
