"""Measures tunnelctl and its peers, on one machine in one run: `python -m benchmarks`.

Must never be imported by the product, and never contain a result: every figure is measured.
"""
