"""The recipe and the commands."""
