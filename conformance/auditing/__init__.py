"""VMIs that nobody made for the harness: found, looked at without a touch, and judged."""
