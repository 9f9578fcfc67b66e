"""Both forms of a layer: M kernels built, or the shared ones applied to all rows."""

import pytest

from keras_hyperens.layers import form as forms


@pytest.fixture
def form(request, monkeypatch):
    """Parametrized indirectly: `"folded"` or `"unfolded"`, whatever the number of rows."""
    limit = {"folded": 0, "unfolded": 10**9}[request.param]
    for name in ("FEW_ROWS", "FEW_ROWS_WITH_DRAWS"):
        monkeypatch.setattr(forms, name, limit)
    return request.param
