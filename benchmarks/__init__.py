"""Benchmarks: one module a question, candidates side by side in one process, medians."""
