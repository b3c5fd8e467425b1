"""The image of this tool itself, made of Debian packages and locked wheels, without Docker."""
