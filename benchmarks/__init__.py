"""Ringfence against bare floors and against what a user would pick instead.

Run: python -m benchmarks
"""
