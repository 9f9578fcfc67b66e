"""Type aliases of signatures. Keras has no static types, so most of them inform readers and are not checked by mypy."""

from typing import Any
from typing import TypeAlias

from numpy.typing import ArrayLike as ArrayLike

Tensor: TypeAlias = Any  # of the Keras backend, eager or symbolic; also a NumPy array if the docstring says so
TensorTree: TypeAlias = Any  # a tensor, or a (nested) list, tuple or dictionary of tensors
Shape: TypeAlias = tuple[int | None, ...]  # including the batch axis of unknown size
LossTree: TypeAlias = Any  # Keras losses as in `compile`: objects, names, functions, or a structure of these
MetricTree: TypeAlias = Any  # likewise
LikelihoodTree: TypeAlias = Any  # one `Likelihood` for all outputs, or a structure with one per output
Loss: TypeAlias = Any  # of one output: a Keras loss, its name, a function, or `None`
Bounds: TypeAlias = tuple[Tensor, Tensor]  # lower and upper, `[M, P]` each
