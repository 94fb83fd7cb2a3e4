"""`python -m benchmarks.soak`: a daemon with traffic, and faults at random."""
