# make demo   a tour of the store     make test   the tests
# make check  all other checks        make bench  the benchmarks
# make site   a site to click through, on port 8000 or PORT=
#
# Needs Python 3.11 or newer. PYTHON=/path/to/python uses another one than python3.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
METADATA := setup.cfg pyproject.toml django_persist/__init__.py
# mysqlclient needs a compiler and MariaDB's client library, so it is only installed if the tests
# have a MariaDB or a MySQL.
MARIADB := $(if $(PERSIST_TEST_MARIADB)$(PERSIST_TEST_MYSQL),$(VENV)/.mariadb)

.PHONY: demo site test check bench clean

demo: $(VENV)/.demo
	@$(BIN)/python manage.py demo

site: $(VENV)/.demo
	@$(BIN)/python manage.py site $(PORT)

# Keep the bytecode, or each worker, and each process that a test starts, compiles it again.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.test $(MARIADB)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

check: $(VENV)/.test $(VENV)/.check $(MARIADB)
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

bench: $(VENV)/.test $(MARIADB)
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .tox .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache \
		build dist docs/_build django_persist.egg-info

# Each of these files marks what is installed. METADATA is newer if it has to be installed again.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, and $(PYTHON) is %d.%d: make PYTHON=/path/to/python" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made $(METADATA)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .[redis]
	@touch $@

$(VENV)/.test: $(VENV)/.made $(METADATA)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .[test]
	@touch $@ $(VENV)/.demo

$(VENV)/.check: $(VENV)/.made $(METADATA)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .[test,dev]
	@touch $@

$(VENV)/.mariadb: $(VENV)/.made $(METADATA)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .[mariadb]
	@touch $@
