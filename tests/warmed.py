"""What the server of ``tests.warm`` has imported before it forks its first process."""

import gc
from importlib import import_module

for name in (
    "pipelines.commands.run",
    "pipelines.commands.teach",
    "pipelines.launch",
    "teacher_cache.encoders.dummy",
    "tests.data_prep.prepare_worker",
    "tests.killed",
    "tests.teacher_cache.crash_worker",
    "tests.teacher_cache.places",
    "tests.teacher_cache.slow_fill",
):
    import_module(name)
# A process that collects garbage looks at its own objects alone, and copies no page of the server.
gc.freeze()
