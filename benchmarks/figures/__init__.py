"""The figures of the documentation: measured and drawn by a module each."""
