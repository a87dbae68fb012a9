"""Opens the tracer if `tracing.export` asks for spans; OpenTelemetry is imported only then."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..config.settings import TracingConfig

if TYPE_CHECKING:  # OpenTelemetry is an optional dependency
    from .spans import Tracer


def open_tracer(settings: TracingConfig) -> Tracer | None:
    """The tracer of this process; None without `tracing.export`, or with OTEL_SDK_DISABLED.

    Raises ValueError if OpenTelemetry is missing or its variables are invalid.
    """
    if not settings.export or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    try:
        from .spans import Tracer
    except ImportError:
        raise ValueError('needs OpenTelemetry, which is not installed; pip install "wagi-gateway[tracing]"') from None
    try:
        return Tracer()
    except (ImportError, RuntimeError) as error:
        raise ValueError(str(error)) from None


def check(settings: TracingConfig) -> None:
    """Raises ValueError if a tracer cannot be opened."""
    if tracer := open_tracer(settings):
        tracer.close()
