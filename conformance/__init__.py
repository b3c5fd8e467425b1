"""The judge: evidence, oracle, checks, verdicts."""
