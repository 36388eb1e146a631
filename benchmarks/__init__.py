"""Benchmarks: what the program does per second and per client, next to its peers on the same machine.

Run ``python -m benchmarks all`` from a clean clone, or one measure at a time. Nothing here is imported by
the program itself, and nothing leaves the loopback interface.
"""
