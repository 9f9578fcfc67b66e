"""What `compile` settles beyond Keras' own arguments."""

import math
from dataclasses import dataclass

CHOICES = {
    "member_loss": ("member", "ensemble"),
    "tuning_loss": ("ensemble", "member"),
    "sampling": ("member", "example"),
}


@dataclass(frozen=True)
class TrainingSettings:
    """How to train and tune; see `HyperBatchEnsemble.compile`."""

    member_loss: str
    tuning_loss: str
    sampling: str
    tuning_every: int
    tuning_warmup: int
    entropy_weight: float
    fast_weight_learning_rate: float

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={getattr(self, name)!r}")
        for name, lowest in (("tuning_every", 1), ("tuning_warmup", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < lowest:
                raise ValueError(f"`{name}` must be an integer of at least {lowest}. Received: {name}={value!r}")
        for name in ("entropy_weight", "fast_weight_learning_rate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"`{name}` must be a finite number of at least 0. Received: {name}={value!r}")
