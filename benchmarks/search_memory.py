"""Does a search's memory grow? The resident size after trial 5 and after the last of 40 small trials.

python -m benchmarks.search_memory
"""

import argparse
import gc
import tempfile

import keras

import keras_hyperens as khe
from benchmarks import hyper_deep
from benchmarks import methods
from benchmarks import networks
from benchmarks.data import load
from benchmarks.memory import resident_bytes

AIM = 1.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    trials = parser.parse_args().trials
    data = load("digits")
    sizes: list[int] = []

    class Measure(keras.callbacks.Callback):
        def on_train_begin(self, logs: dict | None = None) -> None:
            gc.collect()
            sizes.append(resident_bytes())  # what the trials before this one left behind

    with tempfile.TemporaryDirectory() as directory:
        builder = khe.HyperDeepEnsembleBuilder(
            networks.hypermodel_of(data, methods.schedule_of(data)),
            ensemble_size=1,
            objective=hyper_deep.OBJECTIVE,
            max_trials=trials + 1,
            initializations=0,
            directory=directory,
            seed=0,
        )
        validation = {"validation_data": data.validation}
        builder.search(*data.train, **validation, epochs=2, batch_size=100, callbacks=[Measure()], verbose=0)
    for trial in range(5, trials + 1, 5):
        print(f"after trial {trial:>3}: {sizes[trial] / 2**20:.0f} MiB")
    ratio = sizes[trials] / sizes[min(5, trials)]
    print(f"last / fifth: {ratio:.3f}   aim {AIM}: {'met' if ratio < AIM else 'MISSED'}")


if __name__ == "__main__":
    main()
