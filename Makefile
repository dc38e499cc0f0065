# make demo   set up .venv, train an agent and play it beside the controllers: minutes, ends in a table and a report
# make test   set up .venv and run the tests
# make check  lint and types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= runs/demo

.PHONY: demo test check clean

# The constraints keep PyTorch on its CPU build, wherever it is asked for.
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt --editable

$(VENV)/pip: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	touch $@

$(VENV)/train: $(VENV)/pip pyproject.toml
	$(INSTALL) '.[train]'
	touch $@

$(VENV)/dev: $(VENV)/pip pyproject.toml
	$(INSTALL) '.[dev]'
	touch $@

demo: $(VENV)/train
	OMP_NUM_THREADS=1 $(BIN)/multispin fit --scenario mobile --hyperparameters '{"frames": 65536}' --output $(DEMO)-agent
	OMP_NUM_THREADS=1 $(BIN)/multispin benchmark --scenario mobile --model-pair llama2 --seeds 32 \
		--policy $(DEMO)-agent/policies/mobile-llama2-seed0 --output $(DEMO)

test: $(VENV)/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) runs build dist
