"""Fixtures of the system's suites that unit tests share."""

from __future__ import annotations

from tests.sources.oci.conftest import user

__all__ = ["user"]
