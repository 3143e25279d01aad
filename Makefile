# `make train` and `make test` set up what they need in .venv; nothing else has to be typed.
# Another interpreter: make train PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PIP := $(BIN)/python -m pip --disable-pip-version-check
CONSTRAINTS := constraints.txt
TESTS ?=

.PHONY: train test test-slow test-interop lint docs audit bench clean

train: $(VENV)/.train
	$(BIN)/python train.py

# A module is tested by one process, so that what its tests share is compiled once.
test: $(VENV)/.test
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" --durations=15 $(TESTS)

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -q -m slow $(TESTS)

# Encoders against timm and torchvision, and their programs, in build/interop: torch is large, and
# jax2onnx wants an older orbax-checkpoint than the pinned one.
test-interop: constraints.txt
	mkdir -p build
	grep -v '^orbax-checkpoint==' constraints.txt > build/constraints.txt
	$(MAKE) build/interop/.test,interop,export VENV=build/interop CONSTRAINTS=build/constraints.txt
	build/interop/bin/python -m pytest -q -m slow tests/lejepa_jax/models/weights $(TESTS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# The site, in build/site; the tutorials are run, and kept in build/tutorials for the next time.
docs: $(VENV)/.docs
	PATH="$(CURDIR)/$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

# Known weaknesses of the versions in use; without a network it says so and is no failure.
audit: $(VENV)/.dev
	@$(BIN)/pip-audit -r constraints.txt --no-deps --disable-pip --progress-spinner off || { \
		$(BIN)/python -c 'import socket; socket.create_connection(("pypi.org", 443), 5)' 2>/dev/null \
			&& exit 1; \
		echo "audit: no network, so known weaknesses could not be looked up"; }

# A change of interpreter makes the environment anew.
$(VENV)/.python-$(VERSION):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed, $(PYTHON) is $(VERSION)"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/.%: $(VENV)/.python-$(VERSION) pyproject.toml constraints.txt
	$(PIP) install -q -c $(CONSTRAINTS) -e '.[$(if $(filter train,$*),train,train,$*)]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
