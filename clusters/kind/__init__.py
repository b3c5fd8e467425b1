"""kind: nodes that are containers of this host, each with a slice of its CPUs."""
