"""Outbound HTTP: guests that call, and servers to be called."""
