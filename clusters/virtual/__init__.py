"""A real Kubernetes on virtual nodes: the control plane here, kubelets on the nodes."""
