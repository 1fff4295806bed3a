# make run    set up, get the data, run the pipeline       make ui               open the MLflow UI on this machine
# make test   set up, run the tests (8 minutes, 2 cores)   make test-exhaustive  the long tests that `make test` leaves out
# make bench  time the notebook's network against sprint   make lock             renew requirements.lock
#
# Everything is installed in .venv with this machine's python3 (3.11, 3.12 or 3.13). Another one: make run PYTHON=python3.12
# With a GPU: make run EXTRA=gpu

PYTHON ?= python3
EXTRA ?=
LOCK := $(if $(EXTRA),requirements-$(EXTRA).lock,requirements.lock)
READY := .venv/.ready-$(LOCK)
.DEFAULT_GOAL := help
.PHONY: help run test test-exhaustive ui bench setup lock moved
# Only the activate scripts of .venv name its place: where it is another one, the checkout was moved or copied. A link does not count.
MOVED := $(shell [ -L .venv ] || [ ! -e $(READY) ] || [ "$$(. .venv/bin/activate && echo "$$VIRTUAL_ENV")" = "$$(pwd -P)/.venv" ] || echo moved)
# pip and uv keep what they download in the user's cache, where there is one.
ifneq ($(shell mkdir -p "$${XDG_CACHE_HOME:-$$HOME/.cache}" 2>/dev/null && [ -w "$${XDG_CACHE_HOME:-$$HOME/.cache}" ] && echo yes),yes)
export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip
endif

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -6

run: setup
	@.venv/bin/python -m pipeline run

test: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/python -m pytest -m "not exhaustive"

test-exhaustive: setup
	@.venv/bin/python -m pytest -m exhaustive

ui: setup
	@.venv/bin/python -m pipeline ui

bench: setup
	@.venv/bin/dvc repro --quiet ingest
	@.venv/bin/python -m benchmarks.architectures

setup: .venv/bin/dvc

# Replaces pip's dvc, without setting everything up again when only the wrapper changes.
.venv/bin/dvc: $(READY) $(MOVED) setup/dvc
	@tr -d '\r' < setup/dvc > $@ && chmod 755 $@  # a copy from Windows may have other line ends

# An environment of another machine, or of before it was relocatable, is set up again.
moved:
	@echo "the checkout was moved or copied: setting up .venv for this place"
	@{ grep -q '^relocatable = true' .venv/pyvenv.cfg && .venv/bin/python -m venv --without-pip .venv && echo 'relocatable = true' >> .venv/pyvenv.cfg; } \
		|| { rm $(READY) && $(MAKE) --no-print-directory MOVED= setup; }

# uv's own wheel is in the lock too: pip installs that one by its hash, then uv installs everything, also by hash.
$(READY): $(LOCK)
	@$(PYTHON) setup/check_python.py
	@echo "setting up .venv (once; about a minute and 3.1 GB)"
	@[ ! -L .venv ] || rm .venv  # `venv --clear` would empty the folder that a link points to
	@$(PYTHON) -m venv --clear .venv
	@echo 'relocatable = true' >> .venv/pyvenv.cfg  # uv installs programs that find Python beside themselves; pip's own do not
	@for each in .venv/bin/pip*; do printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -m pip "$$@"\n' > "$$each"; done
	@sed -n '/^uv==/,/^ *# /p' $(LOCK) > .venv/uv.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/uv.lock
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes --compile-bytecode -r $(LOCK)
	@touch $@

# Takes the newest versions that pyproject.toml allows.
lock: setup
	@.venv/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-emit-index-url --extra dev \
		--python-version 3.11 -o requirements.lock pyproject.toml
	@.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --extra dev --extra gpu \
		--python-version 3.11 --constraints requirements.lock -o requirements-gpu.lock pyproject.toml
