"""Type checks of arguments before they are compared: comparisons with text, `None` or NaN fail or are misleading."""

import math
from numbers import Integral
from numbers import Real
from typing import Any
from typing import TypeGuard

import numpy as np


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether the value is an integer, including those of NumPy; excludes bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether the value is a finite real number, including those of NumPy; excludes bool."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_one_hot(labels: np.ndarray) -> bool:
    """Whether the last axis has a single 1 and otherwise 0."""
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(-1) == 1).all())
