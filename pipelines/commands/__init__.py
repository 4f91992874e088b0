"""One module a command: its options, its help, and a call."""
