"""The machinery of measurements: processes, CPU affinity, load, turns, targets."""
