"""Whether there are spans: only where that is asked for, and then OpenTelemetry has to be installed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..config.settings import TracingConfig

if TYPE_CHECKING:  # the packages are an extra
    from .spans import Tracer


def open_tracer(settings: TracingConfig) -> Tracer | None:
    """What makes spans in this process; None where nobody wants any. Raises ValueError with what is to be done."""
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
    """Raises ValueError where no tracer can be opened."""
    if tracer := open_tracer(settings):
        tracer.close()
