"""What the benchmark stores is read back, of this version alone."""

import json

import pytest

from thinwire.errors import CorruptFile
from thinwire.ground_truth.results import SCHEMA_VERSION, ModelResult

RESULT = ModelResult("copy", "small", 0, 80, 60, 7, 3, [], [], {"judge": False})


def test_a_result_comes_back() -> None:
    stored = json.loads(json.dumps(RESULT.to_dict()))
    assert stored["schema_version"] == SCHEMA_VERSION
    assert ModelResult.from_dict(stored, "copy.json") == RESULT


def test_another_version_is_refused_by_name() -> None:
    with pytest.raises(CorruptFile, match=r"copy\.json has schema_version 2, this thinwire reads 1"):
        ModelResult.from_dict({**RESULT.to_dict(), "schema_version": 2}, "copy.json")
