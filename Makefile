# Every target sets up what it needs: a virtual environment in .venv with the versions of constraints.txt. The demo
# needs the package alone; tests and checks also what pyproject.toml lists as `dev`.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DEV := .venv/.installed-dev
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.PHONY: demo test test-all check bench docs clean

demo: $(INSTALLED)
	$(BIN)/thinwire demo --pretrained --out runs/pretrained
	$(BIN)/thinwire demo --out runs/demo

test: $(DEV)
	$(PYTEST) -m 'not slow'

test-all: $(DEV)
	$(PYTEST)

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The pages of docs/ as a site; the notebooks run as it is built, and a warning is an error.
docs: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/docs
	@echo build/docs/index.html

BENCHMARKS := train_step selection modes scaling memory prune viewer variants generate

bench: $(DEV)
	@for name in $(BENCHMARKS); do \
		echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; \
	done

# Caches and build output; .venv and runs/ stay.
clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find thinwire tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "thinwire needs Python 3.11 or newer, and $(PYTHON) is not; name one: make PYTHON=python3.12 ..." >&2; \
		exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '$(1)'
	touch $@
endef

$(INSTALLED): pyproject.toml constraints.txt
	$(call install,.)

$(DEV): pyproject.toml constraints.txt
	$(call install,.[dev])
