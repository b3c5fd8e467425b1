"""Proof that the judge notices: saboteurs spoil evidence or a stack, and who notices is told."""
