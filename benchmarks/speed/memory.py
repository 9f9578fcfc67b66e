"""Memory of training, and numbers of parameters, against a plain network.

Counted is the largest resident set (`VmHWM`) of a whole process that builds, compiles and fits for three steps:
Python, TensorFlow, weights, optimizer, rows, activations and gradients. Batches are large, so that programs are not
most of it; the note says how much came on top of what the process held when it called `fit`.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

import keras_hyperens as khe
from benchmarks.memory import resident_bytes
from benchmarks.processes import in_new_process
from benchmarks.speed.aim import Aim
from benchmarks.speed.networks import NETWORKS
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled

M, B = 4, 256  # the plain network gets M B rows
STEPS = 3
PROCESSES = 3  # of each case; sizes vary by a hundredth
PEAK = 1.3
PARAMETERS = {"ResNet50V2": 2.1, "LeNet": 2.3}


def measure(
    repetitions: int,
    networks: tuple[str, ...] = tuple(NETWORKS),
    rows: int = B,
    parameters: tuple[str, ...] = tuple(PARAMETERS),
) -> Iterator[Aim]:
    """A line for the memory of each network and way to draw, and for the parameters of two."""
    for name in networks:
        cases = {sampling: (M, {"sampling": sampling}) for sampling in ("member", "example")} | {"plain": (0, {})}
        peaks = {case: _peak(name, *of_case, rows, min(repetitions, PROCESSES)) for case, of_case in cases.items()}
        for sampling in ("member", "example"):
            ours, plain = peaks[sampling], peaks["plain"]
            note = f"{ours[0]:.0f} / {plain[0]:.0f} MiB; from `fit` on {ours[1]:.0f} / {plain[1]:.0f} MiB"
            what = f"{name}, {rows} rows a member, one draw per {sampling}"
            yield Aim("peak memory / plain", what, ours[0] / plain[0], PEAK, note=note)
    for name in parameters:
        ours, plain = _parameters(name)
        yield Aim("parameters / plain", name, ours / plain, PARAMETERS[name], note=f"{ours:,} / {plain:,}")


def _peak(name: str, members: int, settings: dict[str, Any], rows: int, processes: int) -> np.ndarray:
    """MiB: the largest resident set, and how much of it came in `fit`; medians."""
    sizes = [in_new_process(peak_of_training, name, members, settings, rows) for _ in range(processes)]
    before, peak = np.median(sizes, axis=0) / 2**20
    return np.array([peak, peak - before])


def peak_of_training(name: str, members: int, settings: dict[str, Any], rows: int) -> tuple[int, int]:
    """Bytes when `fit` begins, and at most; 0 members: plain Keras on as many rows as M members have."""
    model, size = compiled(name, members, **settings), rows if members else M * rows
    data = arrays(name, STEPS * size)
    arguments = {"tuning_data": arrays(name, rows)} if members else {}
    before = resident_bytes()
    model.fit(*data, batch_size=size, verbose=0, **arguments)
    return before, resident_bytes("VmHWM")


def _parameters(name: str) -> tuple[int, int]:
    """Ours with all kinds of penalties and dropout open, and the single network's."""
    if name in NETWORKS:
        return compiled(name, M).count_params(), compiled(name, 0).count_params()
    single = getattr(keras.applications, name)(weights=None, classifier_activation=None)
    roles = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")}
    ours = khe.HyperBatchEnsemble.from_model(single, roles=roles, ensemble_size=M, seed=0)
    counts = ours.count_params(), single.count_params()
    keras.backend.clear_session()
    return counts
