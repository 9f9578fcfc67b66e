"""Options of `compile` besides those of Keras."""

from dataclasses import dataclass

from keras_hyperens.checks import is_integer
from keras_hyperens.checks import is_number
from keras_hyperens.types import Tensor

CHOICES = {
    "member_loss": ("member", "ensemble"),
    "tuning_loss": ("ensemble", "member"),
    "sampling": ("member", "example"),
}
MEMBER_ROWS = ("distinct", "same", "split")


@dataclass(frozen=True)
class TrainingSettings:
    """Training and tuning options; see `HyperBatchEnsemble.compile`."""

    member_loss: str
    tuning_loss: str
    sampling: str
    tuning_every: int
    tuning_warmup: int
    entropy_weight: float
    prior_weight: float
    fast_weight_learning_rate: float
    member_rows: str | int | None
    tune_temperature: bool

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={getattr(self, name)!r}")
        for name, lowest in (("tuning_every", 1), ("tuning_warmup", 0)):
            value = getattr(self, name)
            if not is_integer(value) or value < lowest:
                raise ValueError(f"`{name}` must be an integer of at least {lowest}. Received: {name}={value!r}")
        for name in ("entropy_weight", "prior_weight", "fast_weight_learning_rate"):
            value = getattr(self, name)
            if not (is_number(value) and value >= 0):
                raise ValueError(f"`{name}` must be a finite number of at least 0. Received: {name}={value!r}")
        if not isinstance(self.tune_temperature, bool):
            raise TypeError(
                f"`tune_temperature` must be True or False. Received: tune_temperature={self.tune_temperature!r}"
            )
        self._check_member_rows()

    def _check_member_rows(self) -> None:
        rows = self.member_rows
        is_lag = is_integer(rows) and rows > 0
        if rows is not None and rows not in MEMBER_ROWS and not is_lag:
            raise ValueError(
                f"`member_rows` must be one of {MEMBER_ROWS} or a positive number of steps. "
                f"Received: member_rows={rows!r}"
            )
        if self.member_loss == "ensemble" and rows not in (None, "same"):
            raise ValueError(
                'The loss of the combined prediction requires the same samples for all members: use member_rows="same" '
                f'with member_loss="ensemble". Received: member_rows={rows!r}'
            )

    def rows_of_draws(self, batch_size: Tensor) -> Tensor:
        """Returns the number of draws per member in a step: one, or one per sample."""
        return batch_size if self.sampling == "example" else 1

    @property
    def lag(self) -> int | None:
        """Steps between the batches of consecutive members, or `None` for batches of the same step."""
        if is_integer(self.member_rows):
            return int(self.member_rows)
        is_distinct = self.member_rows == "distinct" or (self.member_rows is None and self.member_loss == "member")
        return 1 if is_distinct else None
