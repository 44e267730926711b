# Every target sets up what it needs: a virtual environment in .venv with the versions of constraints.txt.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.PHONY: demo test test-all check bench clean

demo: $(INSTALLED)
	$(BIN)/thinwire demo --out runs/demo

test: $(INSTALLED)
	$(PYTEST) -m 'not slow'

test-all: $(INSTALLED)
	$(PYTEST)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(INSTALLED)
	@for script in $(sort $(wildcard benchmarks/*.py)); do \
		echo "== $$script"; $(BIN)/python $$script || exit 1; \
	done

# Caches and build output; .venv and runs/ stay.
clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find thinwire tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "thinwire needs Python 3.11 or newer, and $(PYTHON) is not; name one: make PYTHON=python3.12 ..." >&2; \
		exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
