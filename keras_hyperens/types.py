"""The words of signatures. Keras has no static types, so most of these say to readers what mypy cannot check."""

from typing import Any
from typing import TypeAlias

from numpy.typing import ArrayLike as ArrayLike

Tensor: TypeAlias = Any  # of Keras' backend, eager or symbolic; also a NumPy array where the docstring says so
TensorTree: TypeAlias = Any  # a tensor, or a list, tuple or dictionary of tensors, also nested
Shape: TypeAlias = tuple[int | None, ...]  # with the batch, whose size is unknown
LossTree: TypeAlias = Any  # Keras losses as `compile` takes them: objects, names, functions, or a structure of these
MetricTree: TypeAlias = Any  # likewise
LikelihoodTree: TypeAlias = Any  # a `Likelihood` of all outputs, or a structure of one for each
Loss: TypeAlias = Any  # of one output: a Keras loss, its name, a function, or `None`
Bounds: TypeAlias = tuple[Tensor, Tensor]  # lower and upper, `[M, P]` each
