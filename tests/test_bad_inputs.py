"""Every call of the table is refused in words, before anything is trained."""

import numpy as np

from tests import bad_inputs


def test_every_call_is_refused_in_words():
    calls = bad_inputs.calls()
    with np.errstate(all="ignore"):
        answers = {call.name: call.answer() for call in calls if not call.is_refused(call.answer())}
    assert len(calls) > 600 and not answers


def test_the_table_can_fail():
    accepted, raw, other = (
        bad_inputs.Call("", call, "units") for call in (lambda: 3, lambda: [][0], lambda: int("units of other kind"))
    )
    assert not accepted.is_refused(accepted.answer()) and not raw.is_refused(raw.answer())
    assert other.is_refused(other.answer())
