"""The embedded API server: storage, admission and the Kubernetes API over HTTPS."""
