"""`python -m benchmarks.soak`: a daemon with traffic, and random faults."""
