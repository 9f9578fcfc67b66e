"""What an argument is before it is compared: of text, `None` or NaN a comparison says nothing, or the wrong thing."""

import math
from numbers import Integral
from numbers import Real
from typing import Any
from typing import TypeGuard


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number, also one of NumPy; a bool is none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite real number, also one of NumPy; a bool is none."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
