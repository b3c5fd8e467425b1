"""Being written by the lead right now (14:50): leave collecting/, settling.py and bundle to the lead; do checks, selfproof and judge.py."""
