"""The reference stack: a Kubernetes with a KubeVirt that keeps the promise, or breaks it."""
