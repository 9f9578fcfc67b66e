"""What the cost model says of cases that are too large to measure here. Arithmetic alone.

Figures that are not this package's: multiply-adds and weights of the networks; 61.5 TFLOP/s (bfloat16, peak) and 16 GiB
for a core of a TPU v3. The share of the peak that a training reaches is an assumption: times go with its inverse.
"""

from dataclasses import dataclass

from benchmarks import experiment
from benchmarks.scale import costs

PEAK, SHARE = 61.5e12, 0.4
GIB, MIB = 2**30, 2**20
SMALL = 1.01  # weights of ours / 2 W, as counted for ResNet50V2 (README); factors weigh less the wider a layer is


@dataclass(frozen=True)
class Training:
    """A network and its data."""

    name: str
    weights: float
    multiply_adds: float  # of one row
    rows: float  # of the training set
    epochs: int
    cores: int
    members: int
    rows_a_core: int  # in a step, each for all members


@dataclass(frozen=True)
class Pool:
    """Candidates and their validation rows."""

    candidates: int
    rows: int
    classes: int
    weights: float


TRAININGS = (
    Training("WRN-28-10, CIFAR-10", 36.5e6, 5.2e9, 50_000, 250, 32, 4, 64),
    Training("ResNet-50, ImageNet", 25.6e6, 4.1e9, 1_281_167, 90, 32, 4, 32),
)
POOLS = tuple(Pool(10_000, 1_000_000, classes, 25.6e6) for classes in (10, 1_000))


def trainings() -> str:
    """A Markdown table: time, memory and network of a hyper-batch ensemble, beside K single trainings."""
    columns = ["", "state a core", "added up a step", "sent a core and step", "computing a step"]
    columns += ["network below 10 % above", "an epoch", "all epochs", "M single trainings"]
    rows = []
    for case in TRAININGS:
        weights = 2 * SMALL * case.weights
        state = costs.training_state_bytes(weights) / GIB
        gradients = costs.gradient_bytes(weights, case.members, 2)
        sent = costs.ring_bytes(gradients, case.cores)
        speed = PEAK * SHARE
        seconds = costs.step_flops(case.multiply_adds, case.rows_a_core, case.members) / speed
        steps = case.rows / case.rows_a_core / case.cores
        hours = steps * case.epochs * seconds / 3600
        single = 6 * case.multiply_adds * case.rows * case.epochs * case.members / speed / case.cores / 3600
        sizes = [f"{state:.1f} GiB", f"{gradients / MIB:.0f} MiB", f"{sent / MIB:.0f} MiB", f"{seconds:.2f} s"]
        times = [f"{steps * seconds:.0f} s", f"{hours:.1f} h", f"{single:.1f} h"]
        rows.append([case.name, *sizes, f"{sent / (0.1 * seconds) / 1e9:.1f} GB/s", *times])
    return experiment.table(columns, rows)


def pools(nanoseconds: float, members: int = 4, subsample: int = 50_000) -> str:
    """A Markdown table: disk, memory and time of a selection by NLL.

    Args:
        nanoseconds: Measured, of one candidate's one row at one choice.
        members: K.
        subsample: Rows of a selection that takes only some of them.
    """
    rows = []
    for case in POOLS:
        predictions = costs.candidate_bytes(0, case.rows, case.classes) * case.candidates / 1e12
        weights = costs.candidate_bytes(int(case.weights), 0, 0) * case.candidates / 1e12
        memory = costs.selection_bytes(case.candidates, case.rows) / GIB
        some = costs.selection_bytes(case.candidates, subsample) / GIB
        seconds = nanoseconds * 1e-9 * case.candidates * case.rows * members
        name = f"T = {case.candidates:,}, N = {case.rows:,}, C = {case.classes:,}"
        sizes = [f"{each:.1f} TB" for each in (predictions, predictions / 2, weights)]
        of_some = f"{some:.1f} GiB, {seconds * subsample / case.rows:.0f} s"
        rows.append([name, *sizes, f"{memory:.1f} GiB", f"{seconds:.0f} s", of_some])
    columns = ["", "predictions", "in float16", "weights, Adam", "memory", "selection", "with a subsample"]
    return experiment.table(columns, rows)
