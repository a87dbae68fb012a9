"""Observability: log, metrics, status and traces."""
