"""Any cluster that runs KubeVirt, reached through a kubeconfig alone; nothing is deployed."""
