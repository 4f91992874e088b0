"""Targets to gradients: the student, its losses, stages, training, evaluation and export."""

from student.registration import register_with_transformers

register_with_transformers()
