"""Prints the conversion of each model: `python -m tests.zoo [names]`."""

import pathlib
import pickle
import subprocess
import sys
import tempfile

import keras
import numpy as np

from tests.zoo import checking
from tests.zoo.models import ZOO

ELSEWHERE = """
import pathlib, pickle, sys
import tensorflow as tf
assert not [name for name in sys.modules if name.startswith("keras_hyperens")]
for folder in sys.argv[1:]:
    try:
        loaded = tf.saved_model.load(folder + "/served")  # its functions do not keep its variables
        x = pickle.loads(pathlib.Path(folder, "x").read_bytes())
        found = tf.nest.map_structure(lambda each: each.numpy(), loaded.serve(tf.nest.map_structure(tf.constant, x)))
    except Exception as error:
        found = str(error)
    pathlib.Path(folder, "y").write_bytes(pickle.dumps(found))
"""
HEADER = "| model | difference | member-specific | loss | spread | reloaded | exported | |"


def main(names):
    with tempfile.TemporaryDirectory() as root:
        rows = [checked(name, pathlib.Path(root) / name) for name in names]
        rows = [row for row in rows if row is not None]
        folders = [str(pathlib.Path(root) / row.name) for row in rows if not row.failure]
        subprocess.run([sys.executable, "-c", ELSEWHERE, *folders], check=True, cwd=root)
        for row in rows:
            if not row.failure:
                compare_exported(row, pathlib.Path(root) / row.name)
    print(HEADER)
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(line(row))
    print(summary(rows))


def checked(name, folder):
    """A row of the table; `None` for a model whose package is not there."""
    folder.mkdir()
    row = checking.Row(name)
    try:
        _, ensemble, x, row = checking.converted(name)
        checking.trained(ensemble, x, row, epochs=2)
        expected = checking.saved(ensemble, x, row, folder)
        (folder / "x").write_bytes(pickle.dumps(checking.as_served(x)))
        (folder / "expected").write_bytes(pickle.dumps(expected))
    except ModuleNotFoundError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return None
    except Exception as error:
        row.failure = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150]}"
    print(line(row), file=sys.stderr, flush=True)
    keras.backend.clear_session()
    return row


def compare_exported(row, folder):
    found, expected = (pickle.loads((folder / name).read_bytes()) for name in ("y", "expected"))
    if isinstance(found, str):
        row.failure = f"export: {found.splitlines()[0][:150]}"
    else:
        row.exported = checking.difference(expected, found)


def line(row):
    numbers = [row.difference, row.share, row.loss, row.apart, row.reloaded, row.exported]
    texts = [f"{numbers[0]:.0e}", f"{100 * numbers[1]:.1f} %", *(f"{each:.2g}" for each in numbers[2:4])]
    return f"| {row.name} | {' | '.join([*texts, *(f'{each:.0e}' for each in numbers[4:])])} | {row.failure} |"


def summary(rows):
    good = [row for row in rows if row.is_good]
    worst = max((row.difference for row in good if row.name not in checking.RANDOM), default=np.nan)
    least = f"at least {checking.LEAST:.0%} member-specific"
    return f"{len(good)} of {len(rows)} converted fully: {least}, largest difference {worst:.0e}"


if __name__ == "__main__":
    main(sys.argv[1:] or list(ZOO))
