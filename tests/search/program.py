"""A search as a program of its own, to be killed, or to be the chief or a worker.

python -m tests.search.program DIRECTORY [WORKERS] [retrain]
"""

import json
import sys

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
from tests.search.problem import blobs
from tests.search.problem import make_builder
from tests.search.problem import search


def main():
    directory, *options = sys.argv[1:]
    workers = [int(option) for option in options if option.isdigit()]
    builder = make_builder(directory)
    search(builder, verbose=1, workers=workers[0] if workers else None)
    ensemble = builder.build_ensemble()
    if "retrain" in options:
        data = {"validation_data": blobs(45, seed=1), "epochs": 2, "batch_size": 20}
        ensemble = builder.retrain(*blobs(), **data)
    print("RESULT " + json.dumps([[each.name for each in builder.members], list(ensemble.member_weights)]))


if __name__ == "__main__":
    main()
