"""One network in the place of an ensemble: a distilled student, a single member, and either with kernels of 8 bits.

    python -m benchmarks.distillation                # scikit-learn's digits, no network needed
    python -m benchmarks.distillation --report       # the table of everything run so far
    python -m benchmarks.distillation --latency      # what one image takes

A hyper-batch ensemble of four is trained on 500 images and calibrated on 500 held-out ones. Students are new networks
like the single network, trained on about as many batches: of the same images, or of mixtures of two of all 1,000, which
have no labels but the ensemble's. Each run is a line of `benchmarks/results/distillation.jsonl`.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks import networks
from benchmarks.data import Data
from benchmarks.data import load
from benchmarks.experiment import Run
from benchmarks.experiment import Schedule

SCHEDULE = Schedule(60, 15, 32)
CALLS = 500
MIXED = 8_000
TEMPERATURES = (1.0, 4.0)


def main() -> None:
    parser = experiment.parser(__doc__, experiment.RESULTS / "distillation.jsonl", seeds=3)
    parser.add_argument("--ensemble-size", type=int, default=4)
    parser.add_argument("--latency", action="store_true", help="only measure what one image takes; needs no training")
    options = parser.parse_args()
    if options.latency:
        return print(latencies(load("digits"), options.ensemble_size))
    if not options.report:
        for seed in range(options.seeds):
            _run(load("digits"), seed, options)
    print(report(experiment.read(options.results)))


def _run(data: Data, seed: int, options: argparse.Namespace) -> None:
    build_model = networks.hypermodel_of(data, SCHEDULE)

    def trained(method: str) -> keras.Model:
        settings = {"learning_rate": SCHEDULE.learning_rate} if method == "hyper-batch" else {}
        model = experiment.build(method, build_model, settings, options.ensemble_size, seed)
        experiment.train(model, data, SCHEDULE)
        return model

    @cache
    def teacher() -> keras.Model:
        return experiment.calibrated(trained("hyper-batch"), data)

    methods: dict[str, Callable[[], keras.Model]] = {
        "single network": lambda: trained("single"),
        "ensemble": teacher,
        "member": lambda: teacher().member(0),
        "member, 8 bits": lambda: eight_bits(teacher().member(0)),
    }
    for name, x in images_of(data).items():
        make = partial(_student, teacher, build_model, x, seed)
        methods |= {f"student, {name}, T = {each:g}": partial(make, temperature=each) for each in TEMPERATURES}
        methods[f"student, {name}, with spread"] = partial(make, spread=True)
    for method, make in methods.items():
        cell = {"ensemble_size": options.ensemble_size, "seed": seed, "method": method}
        experiment.once(options.results, cell, lambda make=make: asdict(experiment.score(make(), data.test)))


def images_of(data: Data) -> dict[str, np.ndarray]:
    """What students are trained on: the teacher's images, and 8,000 mixtures of two of all that are there."""
    everything = np.concatenate([data.train[0], data.held_out[0]])
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, len(everything), (2, MIXED))
    share = generator.uniform(0, 1, (MIXED, 1, 1, 1)).astype("float32")
    mixed = share * everything[first] + (1 - share) * everything[second]
    return {"the same images": data.train[0], "mixed images": mixed}


def _student(
    teacher: Callable[[], keras.Model], build_model: Any, x: np.ndarray, seed: int, **options: Any
) -> keras.Model:
    """Returns a student of the single network's kind; it trains as many steps on more images as on fewer."""
    student = experiment.build("single", build_model, {}, 1, seed)
    epochs = max(1, SCHEDULE.epochs * 500 // len(x))
    return khe.distill(teacher(), student, x, epochs=epochs, batch_size=SCHEDULE.batch_size, verbose=0, **options)


def eight_bits(model: keras.Model) -> keras.Model:
    """The model with kernels of 8 bits where Keras has such layers: the dense ones, here."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.quantize("int8")
    return model


def latencies(data: Data, ensemble_size: int) -> str:
    """A Markdown table: what one image takes. All are called in turns, so that none has a quiet machine for itself."""
    build_model = networks.hypermodel_of(data, SCHEDULE)
    ensemble = experiment.build("hyper-batch", build_model, {"learning_rate": 1e-3}, ensemble_size, seed=0)
    models = {"network": ensemble.member(0), "network, 8 bits": eight_bits(ensemble.member(0))}
    models |= {"ensemble": ensemble, "ensemble, as a plain model": ensemble.to_functional()}
    calls = {name: tf.function(partial(model, training=False)) for name, model in models.items()}
    image, times = tf.constant(data.test[0][:1]), {name: [] for name in calls}
    for _ in range(CALLS):
        for name, call in calls.items():
            start = time.perf_counter()
            call(image)
            times[name].append(time.perf_counter() - start)
    medians = {name: 1e6 * float(np.median(each[CALLS // 10 :])) for name, each in times.items()}
    rows = [[name, f"{median:.0f} µs", f"{median / medians['network']:.2f}"] for name, median in medians.items()]
    return experiment.table(["", "one image", "/ network"], rows)


def report(done: list[Run]) -> str:
    """A Markdown table: means and standard errors over seeds, and how often each has a lower NLL than one network."""
    of_methods = experiment.by_seed(done, dict.fromkeys(run["method"] for run in done))
    baseline = of_methods.get("single network", {})
    rows = [[name, *experiment.cells(of_seed, baseline)] for name, of_seed in of_methods.items()]
    return experiment.table(["", "NLL", "accuracy", "ECE", "NLL / single network", "lower NLL"], rows)


if __name__ == "__main__":
    main()
