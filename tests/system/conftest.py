"""What the suites of the whole share with unit tests."""

from __future__ import annotations

from tests.sources.oci.conftest import user

__all__ = ["user"]
