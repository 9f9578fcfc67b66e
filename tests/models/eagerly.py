"""Trainings of a few steps: eagerly in the unit tests, and in a graph in the integration tests."""

import pytest

eagerly_first = pytest.mark.parametrize(
    "run_eagerly", [True, pytest.param(False, marks=pytest.mark.integration)], ids=["eagerly", "graph"], indirect=True
)
