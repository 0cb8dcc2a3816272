"""Tools for tests and measurements."""
