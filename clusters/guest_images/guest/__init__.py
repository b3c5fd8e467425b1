"""The tiny guest: boots in seconds, prints the CPU topology that it sees, stays up.

Its kernel is the node's own; its initial RAM file system is busybox with `init.sh` and
`report.awk`, packed on the node itself.
"""
