# Two commands for everybody: "make run" and "make test".  Each makes what it needs, from a clean clone
# with python3 (3.11 or later) and make alone.  Another interpreter: make PYTHON=python3.12 run

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
CONFIG ?= etc/pushpin.conf
# For "make wstest" alone: the suite has not been moved to Python 3.
PYTHON27 ?= python2.7
# Handed on to pytest and to the benchmarks, for instance: make pytest ARGS="-k routes -x"
ARGS   ?=
# Per cent of lines and branches that the whole test run must reach.
COVERED := 95

METADATA := setup.cfg pyproject.toml
# The default editable hook hides twisted/plugins from twistd; compat puts the checkout on the path.
INSTALL  := $(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat

.DEFAULT_GOAL := help
.PHONY: help run test lint types docs pytest workers bench wstest clean

help: ## Say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

run: $(VENV)/.ready-run ## Start pushpin on port 7999 with etc/pushpin.conf (Ctrl-C stops it)
	@echo 'When it says "started": http://localhost:7999/'
	$(BIN)/twistd -n --pidfile= pushpin --merge-output -c $(CONFIG)

test: $(VENV)/.ready-test ## Lint, types, documentation and all tests with coverage
	@$(MAKE) --no-print-directory --keep-going --jobs=2 part-sockets lint types docs workers part-rest; \
		status=$$?; $(BIN)/coverage combine --quiet; \
		$(BIN)/coverage report --skip-covered --fail-under=$(COVERED) && exit $$status

lint: $(VENV)/.ready-test ## Check style and layout (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-test ## Check types (mypy, strict)
	$(BIN)/mypy

docs: $(VENV)/.ready-test ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

pytest: $(VENV)/.ready-test ## Run the tests alone; ARGS are handed on
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered $(ARGS)

# Two halves that take about equally long, for two cores; for "make test" alone.
.PHONY: part-sockets part-rest
REST := tests/pure tests/rules tests/wstest
part-sockets: $(VENV)/.ready-test
	COVERAGE_FILE=.coverage.sockets $(BIN)/python -m pytest --cov --cov-report= $(REST:%=--ignore=%) $(ARGS)

part-rest: $(VENV)/.ready-test
	COVERAGE_FILE=.coverage.rest $(BIN)/python -m pytest -p no:cacheprovider --cov --cov-report= $(REST) $(ARGS)

workers: $(VENV)/.ready-test ## Run the numbered cases once more, against three workers
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/conformance --workers=3 -m "not one_process"

bench: $(VENV)/.ready-test ## Measure beside what is installed of pushpin and nginx; takes minutes (ARGS: what)
	$(BIN)/python -m benchmarks $(or $(ARGS),all)

wstest: $(VENV)/.ready-test $(VENV)/wstest/.ready ## Let the Autobahn test suite judge WebSockets; needs PYTHON27=python2.7 (ARGS: setups)
	$(BIN)/python -m tests.wstest --wstest $(VENV)/wstest/bin/wstest $(ARGS)

clean: ## Remove everything that was made, the environment included
	rm -rf $(VENV) build dist *.egg-info docs/_build run log htmlcov _trial_temp
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* coverage.xml twistd.pid twistd.log*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment ---------------------------------------------------------------------------------------

# A stamp, not bin/python, is the target: a venv that broke off half-way has the one and not the other.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or later is needed. Name one: make PYTHON=/path/to/python3.12 run" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "This Python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.ready-run: $(VENV)/.created $(METADATA)
	$(INSTALL) -e .
	@touch $@

$(VENV)/.ready-test: $(VENV)/.created $(METADATA)
	$(INSTALL) -e '.[test,docs]'
	@touch $@ $(VENV)/.ready-run

# virtualenv 20.21 is the last that makes environments of Python 2.7.
$(VENV)/wstest/.ready: $(VENV)/.created
	@$(PYTHON27) -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' || { \
	    echo "The suite needs Python 2.7. Name one: make PYTHON27=/path/to/python2.7 wstest" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'virtualenv<20.22'
	$(BIN)/virtualenv --quiet --python $(PYTHON27) $(VENV)/wstest
	$(VENV)/wstest/bin/pip install --quiet --no-python-version-warning autobahntestsuite==25.10.1
	@touch $@
