"""One module a family; each check a pure function from a snapshot to a finding."""
