"""What brings this tool, and what its runs need, into a cluster: images and manifests."""
