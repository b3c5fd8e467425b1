"""What providers ask of an API server, a pod, a libvirt or an image."""
