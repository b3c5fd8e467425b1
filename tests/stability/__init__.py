"""Runs the same suite again and again: not one finding may differ."""
