"""Where the nodes come from. Knows nothing of conformance."""
