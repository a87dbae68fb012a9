"""What can go wrong in a benchmark."""

from __future__ import annotations


class Failed(Exception):
    """A row cannot be measured: a program is missing, a server does not start or answers with errors."""
