PYTHON ?= python3
BIN := .venv/bin
# Tests are distributed by file, because fixtures train models once per file. Three workers on two cores, because some tests
# wait for processes, in particular integration tests.
WORKERS ?= 3
IF_DATA := test -z "$$TFDS_DATA_DIR" ||
TESTS = -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 10

.PHONY: demo test test-all test-lowest faults zoo check format docs tutorials benchmark

demo: .venv/demo               ## train, compare, explain and export both ensembles on real images
	@$(BIN)/python -m examples.demo $(ARGS)

test: .venv/installed          ## the unit tests
	$(BIN)/python $(TESTS) -m "not integration"

test-all: WORKERS = 5
test-all: .venv/installed      ## the unit and integration tests: processes, devices, notebooks, training runs
	$(BIN)/python $(TESTS)

faults: .venv/installed        ## plants faults into copies of the package, which the unit tests must detect
	$(BIN)/python -m tests.faults

zoo: .venv/installed           ## converts small models in many styles to ensembles, and prints a table
	$(BIN)/python -m tests.zoo

tutorials: .venv/installed     ## runs the notebooks and stores their outputs
	$(BIN)/python -m tutorials

test-lowest: .venv-lowest/installed  ## the unit tests with the lowest versions of setup.cfg
	.venv-lowest/bin/python $(TESTS) -m "not integration"

check: .venv/installed         ## format, lint, spelling, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/python -m docs.tools.wording
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

format: .venv/installed        ## formats the code and fixes lint errors
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed          ## builds the site in build/site; fails at broken links and unknown names
	$(BIN)/python -m docs.tools.drawing
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

benchmark: .venv/installed     ## the measurements; those on TFDS data if TFDS_DATA_DIR is set
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.speed --parts kernels peers
	$(BIN)/python -m tests.search.test_search_memory
	$(BIN)/python -m benchmarks.fine_tuning
	$(BIN)/python -m benchmarks.distillation
	$(BIN)/python -m benchmarks.tasks
	$(BIN)/python -m benchmarks.paper --dataset digits --network conv --ensemble-size 4
	$(BIN)/python -m pip install --quiet --editable ".[tabular]"
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 $(BIN)/python -m benchmarks.tabular
	$(IF_DATA) $(BIN)/python -m benchmarks.paper --dataset fashion_mnist --network mlp
	$(IF_DATA) $(BIN)/python -m benchmarks.paper --dataset fashion_mnist --network lenet
	$(IF_DATA) $(BIN)/python -m benchmarks.paper --dataset cifar100 --network mlp
	$(IF_DATA) $(BIN)/python -m benchmarks.paper --dataset cifar100 --network lenet

# The demo has a smaller installation, for a quick start.
.venv/demo: EXTRAS = plots,demo
.venv/installed: EXTRAS = plots,demo,datasets,serving,recipes,dev,docs
.venv/demo .venv/installed: setup.cfg pyproject.toml
	@echo "Installing into .venv (once; some minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --upgrade pip
	@$(BIN)/python -m pip install -qq --editable ".[$(EXTRAS)]"
	@touch $@ .venv/demo

.venv-lowest/installed: setup.cfg pyproject.toml .ci/lower_bounds.py
	$(PYTHON) -m venv .venv-lowest
	$(PYTHON) .ci/lower_bounds.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet --upgrade pip
	.venv-lowest/bin/python -m pip install --quiet --editable ".[plots,demo,datasets,dev]" --constraint .venv-lowest/constraints.txt
	touch $@
