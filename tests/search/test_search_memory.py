"""A search's memory does not grow. For 40 trials: `python -m tests.search.test_search_memory`."""

import gc
import tempfile

import keras
import pytest

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks import networks
from benchmarks.data import load
from benchmarks.memory import resident_bytes
from benchmarks.processes import in_new_process

FIFTH, AIM = 5, 1.15  # what the first ones leave in memory stays there


def resident_after(trials: int) -> list[int]:
    """The resident set of this process before the first trial, and after each of so many small ones."""
    sizes, data = [], load("digits")

    class Measure(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            gc.collect()
            sizes.append(resident_bytes())  # what the trials before this one left behind

    with tempfile.TemporaryDirectory() as directory:
        builder = khe.HyperDeepEnsembleBuilder(
            networks.hypermodel_of(data, experiment.schedule_of(data)),
            ensemble_size=1,
            objective=experiment.OBJECTIVE,
            max_trials=trials + 1,
            initializations=0,
            directory=directory,
            seed=0,
        )
        validation = {"validation_data": data.validation}
        builder.search(*data.train, **validation, epochs=2, batch_size=100, callbacks=[Measure()], verbose=0)
    return sizes


@pytest.mark.integration
def test_memory_stays():
    sizes = in_new_process(resident_after, 9)
    assert len(sizes) == 10 and sizes[-1] / sizes[FIFTH] < AIM


if __name__ == "__main__":
    found = resident_after(40)
    for trial in range(FIFTH, len(found), 5):
        print(f"after trial {trial:>3}: {found[trial] / 2**20:.0f} MiB")
    print(f"last / fifth: {found[-1] / found[FIFTH]:.3f}   aim {AIM}")
