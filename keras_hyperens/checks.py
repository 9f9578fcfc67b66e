"""What an argument is before it is compared: of text, `None` or NaN a comparison says nothing, or the wrong thing."""

import math
from numbers import Integral
from numbers import Real
from typing import Any
from typing import TypeGuard

import numpy as np


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number, also one of NumPy; a bool is none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite real number, also one of NumPy; a bool is none."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_one_hot(labels: np.ndarray) -> bool:
    """Whether each row of the last axis is 1 once, and else 0."""
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(-1) == 1).all())
