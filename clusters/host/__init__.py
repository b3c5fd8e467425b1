"""What runs on this machine for a cluster: processes, run directories, caches, downloads."""
