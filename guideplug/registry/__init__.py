"""Plugins: their hooks, their offers, and the cache of their names."""
