# `make` lists the targets. `make verify` and `make test` work from a bare checkout. See README.md.
# The newest Python that is here and can make environments.
PYTHON ?= $(shell for v in 3.13 3.12 3.11; do python$$v -c 'import ensurepip, venv' 2>/dev/null && echo python$$v && break; done)
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := envs/requirements-torch-cpu.txt envs/requirements-cpu.txt
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
STAMP := $(VENV)/.complete
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile
CORES ?= 1
TEST_WORKERS ?= 2
RUNS ?= 8
UV := uv==0.13.9

.PHONY: help verify test test-long campaign alarms stability env lock checkpoints data benchmarks lint defects schema clean

# The first target: a comment after `##` says what a target does.
help:
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

verify: env  ## set up the environment, run the whole gate; exit code 0 only if it passes
	$(BIN)/snakemake --cores $(CORES)

test: env  ## set up the environment, run the tests
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup --no-loadscope-reorder --durations=10 $(PYTEST_ARGUMENTS)

test-long: env  ## whole runs that take minutes: hung and killed, short of memory, further seeds, a broken compiler
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup --no-loadscope-reorder --durations=10 -m long

env: $(STAMP)  ## set up the environment in .venv

# The stamp is renamed into place last, so an interrupted install is started again. Python compiles the packages on all
# cores and without their own tests, which is a quarter of the minute that pip takes for it on one.
$(STAMP): $(REQUIREMENTS) pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with its venv is needed, found none: set PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13), f"Python 3.11, 3.12 or 3.13 is needed, found {sys.version.split()[0]}: set PYTHON=/path/to/python"'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --retries 1 --timeout 30 --index-url $(TORCH_INDEX) -r envs/requirements-torch-cpu.txt \
	  || $(PIP) -r envs/requirements-torch-cpu.txt
	$(PIP) -r envs/requirements-cpu.txt
	$(PIP) --no-build-isolation --editable .
	@$(BIN)/python -m compileall -qq -j 0 -x 'site-packages/.*/tests?/' $(VENV)/lib || true
	@touch $(STAMP).partial && mv $(STAMP).partial $(STAMP)

lock: env  ## solve envs/requirements.in for all Pythons; versions stay, unless LOCK="--upgrade-package NAME" or --upgrade
	$(PIP) $(UV)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-python-downloads --annotation-style line \
	  --custom-compile-command "make lock" --override envs/overrides.txt --excludes envs/excluded.txt $(LOCK) \
	  envs/requirements.in -o envs/requirements-cpu.txt

checkpoints: env  ## train the embedded checkpoints again, on the shipped data only
	$(BIN)/python -m tools.train_toto
	$(BIN)/python -m tools.train_kronos
	$(BIN)/python -m tools.train_chronos2

data: env  ## make the shipped price files again
	$(BIN)/python -m tools.shipped --folder trainingdata

# Of the published code, which takes windows one after the other, one is timed where a call has eight.
benchmarks: env  ## time the implementations at published sizes, and a run of the gate
	for size in mini small base; do $(BIN)/python -m tools.benchmark kronos:$$size --exact --reference-windows 1 \
	  --cases 256x30x8x1,256x30x8x8,512x30x8x1 --set temperature=0.7 top_p=0.9; done
	$(BIN)/python -m tools.benchmark toto:base --exact --reference-windows 1 \
	  --cases 512x30x32x1,512x30x256x1,512x30x256x16,512x96x256x1,512x336x256x1 --set static.samples_per_batch=256
	$(BIN)/python -m tools.benchmark chronos-2:base --cases 512x30x1x1,512x30x1x32
	$(BIN)/python -m tools.scale

campaign: env  ## try to break a run in hundreds of ways, 30 minutes at most; ends in a table
	$(BIN)/python -m tests.campaign --minutes 30

alarms: env  ## add whole runs in which nothing differs, and tell the rate of false alarms (RUNS=8)
	$(BIN)/python -m tools.agreement --compiled --runs $(RUNS)

stability: env  ## time and judge a finished run again with one core, with two and beside a load (RUNS=10 each)
	$(BIN)/python -m tools.stability --runs $(RUNS)

lint: env  ## style and types
	$(BIN)/ruff check workflow tests
	$(BIN)/python -m mypy

defects: env  ## write workflow/docs/defects.md and the list of checks from what the tests hold
	$(BIN)/python -m tests.defects.record
	$(BIN)/python -m tests.defects.page
	$(BIN)/python -m tools.check_table

schema: env  ## write config/config.schema.json from the settings
	$(BIN)/python -m greenlight.settings > config/config.schema.json

clean:  ## remove results
	rm -rf results .snakemake
