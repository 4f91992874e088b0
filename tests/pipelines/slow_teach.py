"""``pipe`` with dummy teachers that take their time: ``python -m tests.pipelines.slow_teach ...``.

Every shard takes PIPE_TEST_SECONDS, here and in actors; the canary's six texts do not.
"""

import os
import time

import pipelines.teach
from pipelines.cli import main
from teacher_cache.encoders.dummy import DummyEncoder


class SlowEncoder(DummyEncoder):
    """A dummy that sleeps, on any engine."""

    def __init__(self, teacher, *_):
        super().__init__(teacher)

    def encode(self, texts, roles):
        if len(texts) > 6:
            time.sleep(float(os.environ["PIPE_TEST_SECONDS"]))
        return super().encode(texts, roles)


if __name__ == "__main__":
    pipelines.teach._load = SlowEncoder
    main()
