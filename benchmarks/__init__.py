"""Benchmarks: never a test. `make bench`, or `python -m benchmarks`."""
