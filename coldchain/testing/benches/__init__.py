"""Benchmarks against what a user would take instead, one module each; bin/bench runs them in a sandbox."""
