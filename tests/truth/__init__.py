"""Clusters of the world with the right verdict: healthy ones kept, each with a broken twin."""
