"""A worker for the tests of executors, in a module that a process imports in no time."""

import os
import time
from dataclasses import dataclass

from data_prep.errors import PipeError
from data_prep.executors import done


@dataclass(frozen=True)
class Squares:
    """Makes workers that say where they work; -13 is an error, and -14 ends the process."""

    refuse: bool = False

    def __call__(self):
        if self.refuse:
            raise PipeError("found no model, expected one.")
        return self.work

    def work(self, task):
        if task == -13:
            raise PipeError("found -13, expected another.")
        if task == -14:
            os._exit(1)
        time.sleep(0.02)
        return done((task * task, os.getpid()))
