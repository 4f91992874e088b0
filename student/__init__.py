"""Targets to gradients: the student, its losses, stages, training, evaluation and export.

Importing it makes the exported model known to transformers (``student.registered``).
"""

from student.registered import register

register()
