"""The release of Kubernetes that the reference stack follows."""

KUBERNETES = "v1.36.2"
VERSION = f"{KUBERNETES}+embedded"
"""What its API server and its kubelets say of themselves."""
