"""Two processes give the gradient of the whole batch, whatever the split."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from data_prep.errors import UsageError
from student.config import LossConfig
from student.losses import distillation_loss
from student.ranks import ALONE, Ranks, join_ranks
from student.stage_config import StageConfig
from tests import warm  # noqa: F401 - what the processes are forked from
from tests.student.tiny_students import student

TEXTS = [
    f"{word} cat sat on {word}" for word in "the a red blue dog moon mat far how why ran".split()
]
LOSSES = LossConfig(cosine=10.0, similarity=200.0, relative_similarity=20.0, margin=0.015)
STAGE = StageConfig(
    name="all",
    trainable=("text.*", "heads.*"),
    heads={
        "fc1": ("cosine", "similarity", "relative_similarity"),
        "fc2": ("similarity", "relative_similarity"),
    },
    batch_size=len(TEXTS),
    learning_rate=1e-3,
    steps=1,
)


def gradient(ranks: Ranks) -> torch.Tensor:
    """The gradient of a batch's loss, summed over the processes that have a part of it."""
    model = student("bert")
    target_BT = torch.randn(len(TEXTS), 48, generator=torch.Generator().manual_seed(1))
    own = ranks.share(np.arange(len(TEXTS)))
    tokens = model.tokenizer([TEXTS[row] for row in own], padding=True, return_tensors="pt")
    group = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    vectors = model([group], ("fc1", "fc2"))
    target = ranks.gather(target_BT[own], len(TEXTS))
    whole = {head: ranks.gather(rows, len(TEXTS)) for head, rows in vectors.items()}
    distillation_loss(whole, target, STAGE, LOSSES).total.backward()
    flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return ranks.add_up(flat)


def work(rank: int, directory: Path, count: int) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{directory}/meet", rank=rank, world_size=count
    )
    ranks = Ranks(rank, count)
    torch.save(gradient(ranks), directory / f"{rank}.pt")
    assert ranks.tell(rank) == 0
    rows_BC = ranks.gather(torch.full((len(range(rank, 5, count)), 2), float(rank)), 5)
    assert rows_BC[:, 0].tolist() == sorted(place % count for place in range(5))
    dist.destroy_process_group()


def test_the_gradient_is_that_of_the_whole_batch(tmp_path):
    mp.start_processes(work, args=(tmp_path, 2), nprocs=2, start_method="forkserver")
    alone = gradient(ALONE)
    assert alone.abs().max() > 1
    for rank in range(2):  # eleven texts: one process has six of them and the other five
        together = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5 * float(alone.abs().max()))


def test_a_batch_is_divided_without_loss():
    rows = np.arange(11)
    shares = [Ranks(rank, 3).share(rows) for rank in range(3)]
    assert sorted(np.concatenate(shares)) == rows.tolist()


@pytest.mark.parametrize(
    "environ",
    [
        {"RANK": "two", "WORLD_SIZE": "4"},
        {"RANK": "4", "WORLD_SIZE": "4"},
        {"RANK": "-1", "WORLD_SIZE": "4"},
        {"RANK": "1"},
        {"RANK": "0", "WORLD_SIZE": "0"},
        {"RANK": "0", "WORLD_SIZE": "2"},  # and no address to meet at
    ],
)
def test_a_broken_environment_is_a_sentence(environ):
    with pytest.raises(UsageError, match=r"start (them|the processes) with torchrun"):
        join_ranks(environ)


def test_without_a_launcher_there_is_one_process():
    assert join_ranks({}) == ALONE
    assert join_ranks({"RANK": "0", "WORLD_SIZE": "1"}) == ALONE
