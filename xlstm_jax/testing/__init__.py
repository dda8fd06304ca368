"""Checks for new cells, used by the tests and usable on cells defined elsewhere, such as in a notebook."""
