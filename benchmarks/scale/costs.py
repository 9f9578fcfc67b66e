"""The cost model of `docs/scale.md`: plain arithmetic, whose letters are those of that page.

W weights of the plain network · M members · P hyperparameters · A fan-in and U units of a layer · B rows a step ·
F multiply-adds of one row, forward · T candidates · N validation rows · C classes · n replicas or workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

FLOAT = 4  # bytes
GROUP = 8  # rows that a selection multiplies before it takes a logarithm


@dataclass(frozen=True)
class Layer:
    """What a kernel's layer of the plain network has: entries of the kernel, fan-in channels, units, perhaps a bias."""

    kernel: int
    fan_in: int
    units: int
    has_bias: bool = True

    @property
    def weights(self) -> int:
        return self.kernel + self.units * self.has_bias


def hyper_batch_weights(layers: Sequence[Layer], others: int, members: int, hyperparameters: int) -> int:
    """Weights of a hyper-batch ensemble: two kernels, four factors and two biases a member, embeddings.

    Args:
        layers: Of the plain network.
        others: Its weights outside kernels and biases, which members share.
        members: M.
        hyperparameters: P.
    """
    total = others
    for layer in layers:
        per_member = 2 * layer.fan_in + 2 * layer.units + 2 * layer.units * layer.has_bias
        embeddings = hyperparameters * layer.units * (1 + layer.has_bias)
        total += 2 * layer.kernel + members * per_member + embeddings
    return total


def training_state_bytes(weights: int, slots: int = 2) -> int:
    """Weights and what the optimizer keeps of each: two numbers for Adam."""
    return FLOAT * weights * (1 + slots)


def folded_bytes(layers: Sequence[Layer], others: int, members: int) -> int:
    """Of an export with M kernels of every layer."""
    return FLOAT * (others + members * sum(layer.weights for layer in layers))


def gradient_bytes(weights: int, members: int, hyperparameters: int) -> int:
    """What replicas add up at a step: a number for each trained weight, the bounds twice (the optimizer and the prior),
    the temperature's two, and which members, and whether what they share, are finite.
    """
    return FLOAT * (weights + 4 * members * hyperparameters + 2 + members + 1)


def ring_bytes(gradients: float, replicas: int) -> float:
    """What each replica sends when they add up so many bytes in a ring."""
    return 2 * (replicas - 1) / replicas * gradients


def step_flops(multiply_adds: float, rows: float, members: int, tuning_every: int = 3) -> float:
    """Of a training step on B rows, each seen by all members, with its share of the tuning step.

    Forward and backward for inputs and for weights are three times the forward pass; a tuning step needs no gradients
    of weights beyond those of the embeddings, but they pass through every kernel, so it counts as three too.
    """
    one_pass = 2 * multiply_adds * rows * members
    return 3 * one_pass * (1 + 1 / tuning_every)


def candidate_bytes(weights: int, rows: int, outputs: int, prediction_bytes: int = FLOAT, slots: int = 2) -> int:
    """On disk: predictions of the validation rows, and weights as Keras saves them, with those of the optimizer."""
    return prediction_bytes * rows * outputs + training_state_bytes(weights, slots)


def selection_bytes(candidates: int, rows: int) -> int:
    """In memory, of a selection by NLL: the probability of the true class as float64, rows rounded up to eights."""
    return 8 * candidates * GROUP * -(-rows // GROUP)


def search_seconds(candidates: int, seconds: float, workers: int, overhead: float = 0.0) -> float:
    """Of T trainings that take so long each, in n workers that never wait."""
    return -(-candidates // workers) * (seconds + overhead)
