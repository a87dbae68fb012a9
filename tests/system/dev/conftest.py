"""Fixtures of these tests."""

from __future__ import annotations

from tests.system.foreign.conftest import toolchains

__all__ = ["toolchains"]
