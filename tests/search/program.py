"""A search as a program of its own, to be killed, or to be the chief or a worker.

python -m tests.search.program DIRECTORY [WORKERS]
"""

import json
import sys

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
from tests.search.problem import make_builder
from tests.search.problem import search


def main():
    directory, *workers = sys.argv[1:]
    builder = make_builder(directory)
    search(builder, verbose=1, workers=int(workers[0]) if workers else None)
    ensemble = builder.build_ensemble()
    print("RESULT " + json.dumps([[each.name for each in builder.members], list(ensemble.member_weights)]))


if __name__ == "__main__":
    main()
