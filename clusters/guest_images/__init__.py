"""The images that VMIs of the matrix boot from, made of Debian packages, for any registry."""
