# make demo         set up .venv, train an agent and play it beside the controllers: minutes, ends in a table and a report
# make test         set up .venv and run the tests
# make test-latest  the tests on the newest versions that pyproject.toml admits, in .venv-latest
# make check        lint, types and spelling
# make lock         resolve the versions of requirements/ anew
PYTHON ?= python3
VENV := .venv
LATEST := .venv-latest
BIN := $(VENV)/bin
DEMO ?= runs/demo

.PHONY: demo test test-latest check lock clean

$(VENV)/installed: requirements/locked.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version)'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --requirement requirements/locked.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# PyTorch stays on its CPU build.
$(LATEST)/installed: requirements/constraints.txt pyproject.toml
	$(PYTHON) -m venv --clear $(LATEST)
	$(LATEST)/bin/pip install --quiet --upgrade pip
	$(LATEST)/bin/pip install --quiet --constraint requirements/constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/multispin fit --scenario mobile --action direct \
		--hyperparameters '{"total_timesteps": 131072, "updates_per_chunk": 4}' --output $(DEMO)-agent
	OMP_NUM_THREADS=1 $(BIN)/multispin benchmark --scenario mobile --model-pair llama2 --seeds 32 \
		--policy $(DEMO)-agent/policies/mobile-llama2-seed0 --output $(DEMO)

test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# Installed anew every time, as the newest versions change.
test-latest:
	rm -f $(LATEST)/installed
	$(MAKE) $(LATEST)/installed
	OMP_NUM_THREADS=1 $(LATEST)/bin/python -m pytest -n 2

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell $$(git ls-files '*.py' '*.md' '*.toml' '*.yaml' '*.yml')

# The project itself is left out (as "unsafe"): it is installed from here.
COMPILE := $(BIN)/pip-compile --quiet --upgrade --strip-extras --no-emit-options --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --no-header --unsafe-package multispin-env --constraint requirements/constraints.txt
lock: $(VENV)/installed
	$(COMPILE) --extra dev --output-file requirements/locked.txt pyproject.toml
	$(COMPILE) --extra dev --constraint requirements/oldest.in --output-file requirements/oldest.txt pyproject.toml

clean:
	rm -rf $(VENV) $(LATEST) runs build dist
