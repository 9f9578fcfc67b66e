import json

import pytest

from tests.search.problem import eager_model
from tests.search.problem import essence
from tests.search.problem import make_builder
from tests.search.problem import search


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What one process finds that nobody disturbs: its result's line and its candidates."""
    builder = search(make_builder(tmp_path_factory.mktemp("undisturbed"), eager_model))
    ensemble = builder.build_ensemble()
    line = "RESULT " + json.dumps([[each.name for each in builder.members], list(ensemble.member_weights)])
    return line, essence(builder.candidates)
