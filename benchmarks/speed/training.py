"""Training a hyper-batch ensemble against a plain network: time of a step, of its tuning rows, memory, parameters."""

import itertools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_hyperens as khe
from benchmarks import memory
from benchmarks.processes import in_new_process
from benchmarks.speed.aim import Aim
from benchmarks.speed.aim import seconds
from benchmarks.speed.networks import NETWORKS
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled

M = 4
Networks = tuple[str, ...]
ROWS = (32, 128)  # of a member in a batch
EVERY, NEVER = 3, 10**9  # steps from one tuning step to the next
LIMITS = {("member", False): 1.25, ("member", True): 1.6, ("example", False): 2.3, ("example", True): 2.9}
TUNING_ROWS, SLOWER = 2_000, 1.05
LARGE_BATCH = 256  # so that programs are not most of the memory
STEPS, PROCESSES = 3, 3  # of each case; sizes vary by a hundredth
PEAK, PARAMETERS = 1.3, {"ResNet50V2": 2.1, "LeNet": 2.3}


def measure_steps(
    repetitions: int, networks: Networks = tuple(NETWORKS), sizes: tuple[int, ...] = ROWS
) -> Iterator[Aim]:
    """One line for each network, size of batch, way to draw, and with or without tuning.

    The plain network's step is on the same M * B rows.
    """
    for name, size in itertools.product(networks, sizes):
        functions = {"plain": _plain_step(name, M * size)}
        for sampling, tunes in LIMITS:
            tuning_data = arrays(name, 4 * size) if tunes else None
            functions[sampling, tunes] = _step(name, size, tuning_data, sampling=sampling, tuning_every=EVERY)
        medians = seconds(functions, repetitions, calls=EVERY)
        for (sampling, tunes), limit in LIMITS.items():
            ours, plain = medians[sampling, tunes], medians["plain"]
            tuning = ", tuning every third step" if tunes else ""
            what = f"{name}, {size} rows a member, one draw per {sampling}{tuning}"
            note = f"{1e3 * ours:.1f} / {1e3 * plain:.1f} ms"
            yield Aim("training step / plain", what, ours / plain, limit, note=note)
        keras.backend.clear_session()


def _plain_step(name: str, rows: int) -> Callable[[], Any]:
    model = compiled(name, 0)
    model.optimizer.build(model.trainable_variables)
    return _step_of(model, arrays(name, rows))


def _step(name: str, rows: int, tuning_data: Any, **compile_arguments: Any) -> Callable[[], Any]:
    """A step of an ensemble, which has tuning rows if there are any: `fit` takes them."""
    ensemble, data = compiled(name, M, **compile_arguments), arrays(name, rows)
    if tuning_data is None:
        ensemble._trainer.build(tf.TensorSpec((None, *data[0].shape[1:])))
    else:
        ensemble.fit(*data, batch_size=rows, tuning_data=tuning_data, verbose=0)
    return _step_of(ensemble, data)


def _step_of(model: keras.Model, data: tuple[np.ndarray, np.ndarray]) -> Callable[[], Any]:
    """A training step on these rows, which returns when it is done."""
    batch = tuple(map(tf.constant, data))
    step = tf.function(lambda: model.train_step(batch))
    return lambda: keras.tree.map_structure(np.asarray, step())


class Decoder:
    """Rows as a dataset that counts how many were decoded."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.decoded = 0
        self.dataset = tf.data.Dataset.from_tensor_slices((x, y)).map(self._decode).batch(ROWS[0])

    def _decode(self, x: Any, y: Any) -> tuple[Any, Any]:
        return tf.ensure_shape(tf.numpy_function(self._count, [x], tf.float32), x.shape), y

    def _count(self, x: np.ndarray) -> np.ndarray:
        self.decoded += 1
        return x


def measure_input(repetitions: int, networks: Networks = ("MLP", "LeNet"), rows: int = TUNING_ROWS) -> Iterator[Aim]:
    """Tuning rows from `tf.data`: a step that does not tune pays nothing for them, and each is decoded once."""
    for name in networks:
        decoder = Decoder(*arrays(name, rows))
        data = {"with": decoder.dataset, "without": None}
        steps = {case: _step(name, ROWS[0], tuning_data, tuning_every=NEVER) for case, tuning_data in data.items()}
        medians = seconds(steps, 3 * repetitions, calls=3)  # the aim is a matter of hundredths
        note = f"{1e3 * medians['with']:.1f} / {1e3 * medians['without']:.1f} ms"
        ratio = medians["with"] / medians["without"]
        yield Aim("step with tuning rows / without", f"{name}, a step that does not tune", ratio, SLOWER, note=note)
        note = f"{decoder.decoded} / {rows}"
        yield Aim("times a tuning row is decoded", f"{name}, in all steps", decoder.decoded / rows, 1, note=note)
        keras.backend.clear_session()


def measure_memory(
    repetitions: int,
    networks: Networks = tuple(NETWORKS),
    rows: int = LARGE_BATCH,
    parameters: Networks = tuple(PARAMETERS),
) -> Iterator[Aim]:
    """A line for the memory of each network and way to draw, and for the parameters of two.

    Counted is the largest resident set (`VmHWM`) of a whole process that builds, compiles and fits for three steps:
    Python, TensorFlow, weights, optimizer, rows, activations and gradients. The note says how much came in `fit`.
    """
    for name in networks:
        plain = _peak(name, 0, {}, rows, repetitions)
        for sampling in ("member", "example"):
            ours = _peak(name, M, {"sampling": sampling}, rows, repetitions)
            note = f"{ours[0]:.0f} / {plain[0]:.0f} MiB; from `fit` on {ours[1]:.0f} / {plain[1]:.0f} MiB"
            what = f"{name}, {rows} rows a member, one draw per {sampling}"
            yield Aim("peak memory / plain", what, ours[0] / plain[0], PEAK, note=note)
    for name in parameters:
        numbers = [model.count_params() for model in _to_count(name)]
        note = "{:,} / {:,}".format(*numbers)
        yield Aim("parameters / plain", name, numbers[0] / numbers[1], PARAMETERS[name], note=note)
        keras.backend.clear_session()


def _peak(name: str, members: int, settings: dict[str, Any], rows: int, repetitions: int) -> np.ndarray:
    """MiB: the largest resident set, and how much of it came in `fit`; medians."""
    processes = range(min(repetitions, PROCESSES))
    sizes = [in_new_process(peak_of_training, name, members, settings, rows) for _ in processes]
    before, peak = np.median(sizes, axis=0) / 2**20
    return np.array([peak, peak - before])


def peak_of_training(name: str, members: int, settings: dict[str, Any], rows: int) -> tuple[int, int]:
    """Bytes when `fit` begins, and at most; 0 members: plain Keras on as many rows as M members have."""
    model, size = compiled(name, members, **settings), rows if members else M * rows
    data = arrays(name, STEPS * size)
    arguments = {"tuning_data": arrays(name, rows)} if members else {}
    before = memory.resident_bytes()
    model.fit(*data, batch_size=size, verbose=0, **arguments)
    return before, memory.resident_bytes("VmHWM")


def _to_count(name: str) -> tuple[keras.Model, keras.Model]:
    """Ours with all kinds of penalties and dropout open, and the single network."""
    if name in NETWORKS:
        return compiled(name, M), compiled(name, 0)
    single = getattr(keras.applications, name)(weights=None, classifier_activation=None)
    roles = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")}
    return khe.HyperBatchEnsemble.from_model(single, roles=roles, ensemble_size=M, seed=0), single
