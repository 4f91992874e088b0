"""How many processes a command is launched as, and what they are told."""

import pytest
import torch

from data_prep.errors import UsageError
from pipelines.commands.distill import _without
from pipelines.launch import process_count

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@WITHOUT_GPU
def test_two_processes_are_always_allowed():
    assert process_count(2) == 2


@WITHOUT_GPU
@pytest.mark.parametrize(
    ("wanted", "sentence"), [(100_000, "for 100000 processes and no GPU"), (None, "with --nproc N")]
)
def test_more_processes_than_the_machine_has_room_for(wanted, sentence):
    with pytest.raises(UsageError, match=sentence):
        process_count(wanted)


def test_the_launched_command_does_not_launch():
    given = "distill --launcher torchrun --run r --nproc=2 --stage 1 --launcher=deepspeed --nproc 3"
    assert _without(given.split(), ("--launcher", "--nproc")) == "distill --run r --stage 1".split()
