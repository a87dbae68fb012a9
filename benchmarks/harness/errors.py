"""The error of a benchmark."""

from __future__ import annotations


class Failed(Exception):
    """A row cannot be measured: a program is missing, or a server does not start or answers with errors."""
