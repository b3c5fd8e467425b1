"""What is required, where it is promised, and which statement leads to which requirement."""
