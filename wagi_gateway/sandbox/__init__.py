"""One guest invocation: a fresh store and instance, limits, deadline and standard streams."""
