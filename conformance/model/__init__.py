"""Frozen facts and findings. Standard library only."""
