"""What is tried: VMI manifests, and what the promise says about each."""
