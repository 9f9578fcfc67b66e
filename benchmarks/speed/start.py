"""Starting: from `fit` to the end of its first step, against plain Keras; and what importing the package adds.

Every repetition is a process of its own, in which nothing has been traced; the cases take turns.
"""

import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from functools import partial

import keras

from benchmarks.processes import in_forked_process
from benchmarks.speed.aim import Aim
from benchmarks.speed.aim import medians
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled

B = 32  # rows of a batch of the ensemble; the plain network gets 4 B
MEMBERS = (2, 4, 8)
AGAINST_PLAIN, ADDED_SECONDS = 2.5, 0.3
DEPENDENCIES = "tensorflow, keras, keras_tuner, tensorflow_probability, cloudpickle"
ALL_NAMES = "[getattr(keras_hyperens, name) for name in keras_hyperens.__all__ if name != 'plots']"
IMPORTS = {
    "`import keras_hyperens`": "import keras_hyperens",
    "and all that it loads lazily, but plots": f"import keras_hyperens; {ALL_NAMES}",
}


def measure(repetitions: int, networks: tuple[str, ...] = ("LeNet", "ResNet-8")) -> Iterator[Aim]:
    """For each network a line with tuning and one without, and how it grows with M; then the import."""
    for name in networks:
        yield from _first_steps(name, repetitions)
    adding = {what: partial(_import_seconds, statement) for what, statement in IMPORTS.items()}
    for what, added in medians(adding, repetitions).items():
        yield Aim("seconds added to dependencies", what, added, ADDED_SECONDS, note=f"{1e3 * added:.0f} ms")


def _first_steps(name: str, repetitions: int) -> Iterator[Aim]:
    cases = {"plain": (name, 0, False), "tuning": (name, 4, True)} | {M: (name, M, False) for M in MEMBERS}
    functions = {case: partial(in_forked_process, first_step, *arguments) for case, arguments in cases.items()}
    found = medians(functions, repetitions)
    for what, case in (("M = 4", 4), ("M = 4, with tuning", "tuning")):
        note = f"{found[case]:.2f} / {found['plain']:.2f} s"
        yield Aim("first step / plain", f"{name}, {what}", found[case] / found["plain"], AGAINST_PLAIN, note=note)
    few, many = MEMBERS[0], MEMBERS[-1]
    note = f"{found[many]:.2f} / {found[few]:.2f} s"
    what = f"{name}, first step at M = {many} / M = {few}"
    yield Aim("start-up grows at most with M", what, found[many] / found[few], many / few, note=note)


def first_step(name: str, members: int, tunes: bool) -> float:
    """Seconds from `fit` to the end of its first step; 0 members: plain Keras."""
    model, data = compiled(name, members), arrays(name, B if members else 4 * B)
    arguments = {"tuning_data": arrays(name, B)} if tunes else {}
    ended: list[float] = []
    end = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ended.append(time.perf_counter()))
    start = time.perf_counter()
    with warnings.catch_warnings(action="ignore"):  # that nothing is tuned
        model.fit(*data, batch_size=len(data[1]), callbacks=[end], verbose=0, **arguments)
    return ended[0] - start


def _import_seconds(statement: str) -> float:
    """What a statement takes in a new process that has imported the dependencies."""
    program = (
        f"import benchmarks, {DEPENDENCIES}, time; start = time.perf_counter(); {statement}; "
        "print(time.perf_counter() - start)"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(run.stdout.split()[-1])
