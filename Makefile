PYTHON ?= python3
BIN := .venv/bin
# By files: what a file trains once, one worker trains. Three workers on two cores, because some tests wait for processes;
# of the integration tests more do.
WORKERS ?= 3
IF_DATA := test -z "$$TFDS_DATA_DIR" ||
TESTS = -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 10

.PHONY: demo test test-all test-lowest faults zoo check format docs tutorials benchmark

demo: .venv/installed          ## train, compare, explain and export an ensemble on real images
	$(BIN)/python -m examples.demo $(ARGS)

test: .venv/installed          ## the unit tests, and one of each kind of the others
	$(BIN)/python $(TESTS) -m "not integration"

test-all: WORKERS = 4
test-all: .venv/installed      ## the integration tests, too: processes, devices, notebooks, whole trainings
	$(BIN)/python $(TESTS)

faults: .venv/installed        ## plants faults into copies of the package: the unit tests must see each
	$(BIN)/python -m tests.faults

zoo: .venv/installed           ## small models in many styles, each made an ensemble: prints a table
	$(BIN)/python -m tests.zoo

tutorials: .venv/installed     ## run the notebooks in full, and keep what they put out
	$(BIN)/python -m tutorials

test-lowest: .venv-lowest/installed  ## the unit tests with the lowest versions that setup.cfg allows
	.venv-lowest/bin/python $(TESTS) -m "not integration"

check: .venv/installed         ## format, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

format: .venv/installed        ## write what `check` wants to see
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed          ## the site, in build/site; a broken link or an unknown name fails
	$(BIN)/python -m docs.tools.drawing
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

benchmark: .venv/installed     ## the measurements of README; those on TFDS data where TFDS_DATA_DIR is set
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.speed --parts kernels peers
	$(BIN)/python -m tests.search.test_search_memory
	$(BIN)/python -m benchmarks.fine_tuning
	$(BIN)/python -m benchmarks.distillation
	$(BIN)/python -m benchmarks.tasks
	$(BIN)/python -m benchmarks.paper.former
	$(BIN)/python -m benchmarks.paper --dataset digits --network conv --ensemble-size 4
	$(IF_DATA) $(BIN)/python -m benchmarks.out_of_distribution
	$(IF_DATA) $(BIN)/python -m benchmarks.paper --dataset mnist --network mlp
	$(IF_DATA) $(BIN)/python -m benchmarks.paper --dataset mnist --network lenet
	$(IF_DATA) $(BIN)/python -m benchmarks.paper --dataset cifar10_jpeg --network mlp
	$(IF_DATA) $(BIN)/python -m benchmarks.paper --dataset cifar10_jpeg --network lenet
	$(IF_DATA) $(BIN)/python -m benchmarks.paper --dataset mnist --network mlp --ablation --seeds 3

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[plots,datasets,serving,recipes,dev,docs]"
	touch $@

.venv-lowest/installed: setup.cfg pyproject.toml .ci/lower_bounds.py
	$(PYTHON) -m venv .venv-lowest
	$(PYTHON) .ci/lower_bounds.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet --upgrade pip
	.venv-lowest/bin/python -m pip install --quiet --editable ".[plots,datasets,dev]" --constraint .venv-lowest/constraints.txt
	touch $@
