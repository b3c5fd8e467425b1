"""The kubelet of one node, with its CPU manager."""
