"""Targets to gradients: the student, its losses, stages, training, evaluation and export."""
