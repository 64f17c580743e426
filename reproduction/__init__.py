"""The paper's experiments again: published numbers, its procedure with every quirk behind a switch, and records."""
