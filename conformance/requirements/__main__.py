"""Prints docs/requirements.md."""

from conformance.requirements.catalogue import catalogue
from conformance.requirements.page import render

if __name__ == "__main__":
    print(render(catalogue()), end="")
