# make demo | test | test-fast | lint | docs | bench: each sets up what it needs.
# Needs Python >= 3.11 and make. Another Python: make PYTHON=python3.12 test

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --durations 10

.PHONY: demo test test-fast lint docs bench

demo: $(READY)  ## the whole loop on generated images: train, pre-annotate, correct, retrain
	$(BIN)/labelkit demo

test: $(READY)  ## every test; ends with the ten slowest, and what was skipped and why
	$(PYTEST)

test-fast: $(READY)  ## no server, no training: under two minutes
	$(PYTEST) -m "not slow and not server"

lint: $(READY)  ## format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@git ls-files '*.py' | xargs wc -l | awk '$$1 > 400 && $$2 != "total" \
	  {print "note: " $$2 " has " $$1 " lines: does it hold one idea?"}'

docs: $(READY) .venv/.docs  ## the site, in site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(READY)  ## what benchmarks/*.md report, but for the long trainings; an hour on two CPU cores
	set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

# Stamped, so that it is done once and again only when the dependencies change.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: labelkit needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || \
	  $(PYTHON) -m venv .venv || { \
	  echo "error: $(PYTHON) cannot make a virtual environment." >&2; \
	  echo "On Debian and Ubuntu type: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip install --compile-bytecode --python $(BIN)/python --editable '.[dev]'
	@touch $@

.venv/.docs: pyproject.toml | $(READY)
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --editable '.[docs]'
	@touch $@
