"""The comparisons: a module a subject, each with a list ``CASES``."""
