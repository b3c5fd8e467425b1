"""Prints a page of the documentation: ``self-proof`` or ``bugs-caught``."""

import sys

from conformance.proving import all as _all  # noqa: F401 - registers every saboteur
from conformance.proving.page import bugs_caught, self_proof
from conformance.proving.saboteur import of

PAGES = {"self-proof": self_proof, "bugs-caught": bugs_caught}

print("\n".join(PAGES[sys.argv[1]](of(()))))
