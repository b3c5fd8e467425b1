"""Results of a command to where somebody waits for them: a ConfigMap, Sonobuoy, a CI system."""
