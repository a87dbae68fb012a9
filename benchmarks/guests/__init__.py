"""The modules that the benchmarks serve."""
