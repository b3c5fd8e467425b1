"""The reference stack on nodes that exist in memory: the whole matrix in seconds."""
