"""Measurements beyond the table: breakdown, curves, workers, outbound calls."""
