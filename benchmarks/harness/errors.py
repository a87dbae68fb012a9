"""The errors of a benchmark."""

from __future__ import annotations


class Failed(Exception):
    """A row cannot be measured: a program is missing, or a server does not start or answers with errors."""


class Absent(Exception):
    """A server that a row compares with, but does not need, is not installed; the message says how to get it."""
