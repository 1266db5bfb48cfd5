"""The server against its own OpenAPI description: what schemathesis thinks of to send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lesionlab.deployment.server_run import ServeSettings, build

# Not among them: positive_data_acceptance. Random bytes fit "binary" and are no image.
CHECKS = (
    "content_type_conformance",
    "negative_data_rejection",
    "response_headers_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "unsupported_method",
)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_operation_keeps_its_description(bundle_folder: Path, mode: str) -> None:
    import schemathesis  # here: two seconds that only this test needs
    from hypothesis import HealthCheck, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    limits = settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    asked = [not_a_server_error, *(getattr(checks, name) for name in CHECKS)]
    hosts = ("testserver",)
    app, _ = build([bundle_folder], ServeSettings(workers=1, queue=8, allow_hosts=hosts))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @limits
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
        def keeps(case: Any) -> None:
            case.call_and_validate(checks=asked)

        try:
            keeps()
            tried += 1
        except Unsatisfiable:  # nothing can be wrong about a path without parameters
            assert mode == "negative"
    assert tried >= (6 if mode == "positive" else 1)
