"""How good the student is: held-out agreement, local evaluation sets, speed, one table."""
