# Needs Python 3.11, pip and make; everything else is installed into .venv from hashed pins.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORAGE ?= results
CHAOS ?= --rounds 10
PROCESSES ?= 2

# pip fills the environment from outside, so that Debian's python3-venv is not needed; the lock lets
# two makes run at once. A stamp is newer than its pins only after all of them were installed.
install = flock $(1).lock sh -c 'test $(VENV)/$(1).stamp -nt $(1).txt || { \
	echo "installing the packages of $(1).txt into $(VENV), which takes a minute or more …" && \
	$(PYTHON) -m venv --without-pip $(VENV) && \
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --quiet --disable-pip-version-check \
		--require-hashes -r $(1).txt && touch $(VENV)/$(1).stamp; }'

.PHONY: run test test-recovery chaos lint pins setup setup-test browser ceph

run: setup  ## Trains, evaluates and scores on the real Fashion-MNIST
	@echo "recipe fashion-1min: a small convolutional network, 5 epochs"
	@$(BIN)/python -m jobs.train --recipe fashion-1min --score --storage $(STORAGE)

# A file of tests is run by one process, since its tests share fixtures.
test: setup-test browser ceph  ## Runs the tests, but for those of what may die
	@$(BIN)/python -m pytest --ignore tests/recovery \
		--numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

test-recovery: setup-test  ## Kills, cuts off and fills up whatever a job stands on
	@$(BIN)/python -m pytest tests/recovery $(PYTEST)

chaos: setup-test  ## Disturbs jobs at random, again and again, and looks at what they left
	@$(BIN)/python -m tests.chaos $(CHAOS)

lint: setup-test  ## Checks style, types, and what may import what
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo

setup:
	@$(call install,requirements)

setup-test:
	@$(call install,requirements-test)

# A real browser for the tests of the page. Root installs it; anybody else asks sudo.
browser:
	@{ command -v chromium && command -v chromedriver; } >/dev/null || { \
		echo "installing chromium …"; \
		root=$$([ $$(id -u) = 0 ] || echo sudo); \
		$$root apt-get update -qq && \
		$$root apt-get install -qq -y --no-install-recommends chromium chromium-driver >/dev/null; }

# A second S3 server, which is not like Amazon's, to test storage against.
ceph:
	@{ command -v radosgw && command -v ceph-osd && command -v ceph-mon && command -v ceph; } \
		>/dev/null || { \
		echo "installing the S3 server of Ceph …"; \
		root=$$([ $$(id -u) = 0 ] || echo sudo); \
		$$root apt-get update -qq && \
		$$root apt-get install -qq -y --no-install-recommends \
			radosgw ceph-mon ceph-osd ceph-common >/dev/null; }

# Pins every package with its hashes, and no index addresses, from pyproject.toml. Needs uv. What is
# in several files has the same version in each.
compile = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url pyproject.toml
pins:
	$(compile) -o requirements.txt
	$(compile) -c requirements.txt --extra gpu -o requirements-gpu.txt
	$(compile) -c requirements.txt --extra mlflow -o requirements-mlflow.txt
	$(compile) -c requirements-mlflow.txt --extra onnx --extra litert -o requirements-export.txt
	$(compile) -c requirements-export.txt --extra optuna -o requirements-optuna.txt
	$(compile) -c requirements-mlflow.txt -c requirements-export.txt -c requirements-optuna.txt \
		--extra mlflow --extra onnx --extra litert --extra optuna --extra test \
		-o requirements-test.txt
