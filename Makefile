# `make train` and `make test` set up what they need in .venv; nothing else has to be typed.
# Another interpreter: make train PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PIP := $(BIN)/python -m pip --disable-pip-version-check
TESTS ?=

.PHONY: train test test-slow lint clean

train: $(VENV)/.train
	$(BIN)/python train.py

test: $(VENV)/.test
	$(BIN)/python -m pytest -q -n 2 -m "not slow" $(TESTS)

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -q -m slow $(TESTS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# A change of interpreter makes the environment anew.
$(VENV)/.python-$(VERSION):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed, $(PYTHON) is $(VERSION)"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/.%: $(VENV)/.python-$(VERSION) pyproject.toml constraints.txt
	$(PIP) install -q -c constraints.txt -e '.[$(if $(filter train,$*),train,train,$*)]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
