"""The tracer, with and without OpenTelemetry's environment variables."""

from __future__ import annotations

from contextlib import closing

import pytest

from wagi_gateway.config.settings import TracingConfig
from wagi_gateway.observe.tracing import check, open_tracer


@pytest.mark.parametrize(
    ("export", "disabled"), [(False, ""), (True, "true"), (True, " TRUE ")], ids=["not asked for", "disabled", "blanks"]
)
def test_there_is_none(monkeypatch: pytest.MonkeyPatch, export: bool, disabled: str) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", disabled)
    assert open_tracer(TracingConfig(export=export)) is None


def test_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    tracer = open_tracer(TracingConfig(export=True))
    assert tracer
    with closing(tracer):
        assert check(TracingConfig(export=True)) is None  # type: ignore[func-returns-value]


def test_a_protocol_that_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(ValueError, match="spans are sent as http/protobuf"):
        check(TracingConfig(export=True))
