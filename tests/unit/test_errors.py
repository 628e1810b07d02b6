"""Texts of errors can be carried by every message, whatever was in the path that they name."""

from pathlib import Path
from typing import Any

import pytest
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_status_pb2 import (
    GetModelStatusRequest,
    GetModelStatusResponse,
)

from ovms.api.tfs import TensorFlowServing
from ovms.core.harness import describe
from ovms.core.servable import ServableId, ServableState, State
from ovms.errors import Code, ConfigError, ServingError
from ovms.frontends.status import LONGEST_MESSAGE, capped

PATH = Path(b"/models/\xff".decode(errors="surrogateescape"))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ServingError(Code.NOT_FOUND, f"{PATH}: not there"), "/models/\\udcff: not there"),
        (ConfigError(str(PATH)), "/models/\\udcff"),
        (OSError(str(PATH)), "OSError: /models/\\udcff"),
        (ValueError("\ud800"), "ValueError: \\ud800"),
        (ServingError(Code.NOT_FOUND, "mod\u00e8le \U0001f600"), "mod\u00e8le \U0001f600"),
    ],
)
def test_texts_can_be_sent(error: Exception, told: str) -> None:
    assert describe(error) == told
    if isinstance(error, ServingError):
        assert str(error) == error.message == told


def test_status_answers_with_them() -> None:
    class Statuses:
        def status(self, name: str, version: int = 0) -> list[ServableState]:
            message = describe(OSError(str(PATH)))
            return [ServableState(ServableId(name, 1), State.LOADING, Code.UNKNOWN, message)]

    models: Any = None
    request = GetModelStatusRequest(model_spec={"name": "m"}).SerializeToString()
    answer = GetModelStatusResponse.FromString(TensorFlowServing(models, Statuses()).get_model_status(request))
    assert answer.model_version_status[0].status.error_message == "OSError: /models/\\udcff"


@pytest.mark.parametrize("text", ["\udcff", "a\ud800b", "\udcff" * LONGEST_MESSAGE, "a" * 1020 + "\udcff"])
def test_capped_has_no_surrogates(text: str) -> None:
    data = capped(text).encode()
    assert len(data) <= LONGEST_MESSAGE + len("...TRUNCATED")
