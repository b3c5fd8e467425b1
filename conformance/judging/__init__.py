"""From recorded evidence to findings, to a verdict, to the report document."""
