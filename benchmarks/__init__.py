"""Measures tunnelctl beside its peers, on one machine in one run: `python -m benchmarks`.

Must never be imported by the product, and never hold a result: every figure is measured.
"""
