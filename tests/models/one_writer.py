"""Writes an ensemble again and again, a program for `test_replacing.py`, which stops it in the middle.

python -m tests.models.one_writer FILE DIRECTORY VALUE      # the first weight; the next is greater by one
"""

import itertools
import sys

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
from tests.models.test_replacing import ensemble_of


def main():
    file, directory, first = sys.argv[1:]
    ensemble = ensemble_of(float(first))
    (weight,) = ensemble.weights
    for value in itertools.count(float(first)):
        weight.assign([[value]])
        ensemble.save(file)
        ensemble.export(directory)
        print(value, flush=True)


if __name__ == "__main__":
    main()
