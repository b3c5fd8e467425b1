"""What judging costs: ``python -m tests.benchmark``."""
