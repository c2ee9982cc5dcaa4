"""Experiments of many runs: comparisons and studies, on one engine of jobs."""
