"""What every cluster offers to the harness: access, provider, shape of its nodes, CPU lists."""
