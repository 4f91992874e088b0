"""Texts to vectors, once: the table of teachers and the store of their vectors."""
