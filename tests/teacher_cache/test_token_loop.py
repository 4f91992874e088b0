"""The loop that every transformer teacher shares, with a model that shows what it is given."""

import threading
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch

from data_prep.errors import PipeError
from teacher_cache.encoders.token_loop import Features, TokenLoop, Tokens


def letters(texts: Sequence[str], rows: np.ndarray) -> Tokens:
    """A token per letter; texts that begin with a digit leave out so many tokens."""
    chosen = [texts[row] for row in rows]
    skip = [int(text[0]) if text[0].isdigit() else 0 for text in chosen]
    return Tokens({"input_ids": [[ord(letter) for letter in text] for text in chosen]},
                  np.array(skip, np.int64))  # fmt: skip


class Model:
    """Sums and lengths; notes the shape of every batch."""

    def __init__(self, most: int = 1_000_000) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.skips: list[set[int]] = []
        self.most = most

    def __call__(self, batch: Features, skip: torch.Tensor) -> torch.Tensor:
        ids, mask = batch["input_ids"], batch["attention_mask"]
        self.shapes.append(tuple(ids.shape))
        self.skips.append(set(skip.tolist()))
        if ids.numel() > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert ((ids == 0) == (mask == 0)).all()
        return torch.stack([ids.sum(1), mask.sum(1)], 1)


def make_texts(count: int) -> list[str]:
    rng = np.random.default_rng(3)
    return ["".join(rng.choice(list("abcxyz"), rng.integers(1, 60))) for _ in range(count)]


def expected(texts: list[str]) -> np.ndarray:
    return np.array([[sum(map(ord, text)), len(text)] for text in texts], np.float32)


@pytest.mark.parametrize("count", [0, 1, 1024, 1025, 3000])
@pytest.mark.parametrize("budget", [1, 100, 4096])
def test_every_text_has_its_own_vector(count: int, budget: int) -> None:
    texts, model = make_texts(count), Model()
    loop = TokenLoop("cpu", budget=budget)
    found = loop.run(texts, partial(letters, texts), model, 2, unit=False)
    np.testing.assert_array_equal(found, expected(texts).reshape(count, 2))
    assert all(size * longest <= max(budget, longest) for size, longest in model.shapes)
    assert loop.work.batches == len(model.shapes)
    assert loop.work.tokens == sum(map(len, texts))
    assert loop.work.computed == sum(size * longest for size, longest in model.shapes)


def test_blocks_cost_no_padding() -> None:
    texts = make_texts(5000)
    loop = TokenLoop("cpu", budget=1024)
    loop.run(texts, partial(letters, texts), Model(), 2)
    assert loop.work.computed < 1.02 * loop.work.tokens
    assert loop.work.batches < 1.05 * loop.work.tokens / 1024


def test_tokens_are_made_ahead_in_one_other_thread() -> None:
    texts = make_texts(3000)
    made: list[str] = []
    second = threading.Event()

    def tokenise(rows: np.ndarray) -> Tokens:
        made.append(threading.current_thread().name)
        if len(made) == 2:
            second.set()
        return letters(texts, rows)

    def model(batch: Features, skip: torch.Tensor) -> torch.Tensor:
        assert second.wait(120)  # before the first batch ends, the second block has been begun
        return Model()(batch, skip)

    TokenLoop("cpu").run(texts, tokenise, model, 2)
    assert len(made) == 3
    assert set(made) == {"tokenise_0"}


def test_a_fault_of_the_tokenizer_is_not_lost() -> None:
    def tokenise(rows: np.ndarray) -> Tokens:
        raise PipeError("no tokens today.")

    with pytest.raises(PipeError, match="no tokens today"):
        TokenLoop("cpu").run(["a"], tokenise, Model(), 2)


def test_a_batch_leaves_out_one_number_of_tokens_where_asked() -> None:
    texts = [f"{n % 3}{text}" for n, text in enumerate(make_texts(200))]
    model = Model()
    found = TokenLoop("cpu").run(
        texts, partial(letters, texts), model, 2, same_skip=True, unit=False
    )
    np.testing.assert_array_equal(found, expected(texts))
    assert {len(skip) for skip in model.skips} == {1}
    assert set.union(*model.skips) == {0, 1, 2}


def test_a_batch_that_does_not_fit_halves_the_budget() -> None:
    texts, model = make_texts(2000), Model(most=300)
    loop = TokenLoop("cpu", budget=1000)
    found = loop.run(texts, partial(letters, texts), model, 2, unit=False)
    np.testing.assert_array_equal(found, expected(texts))
    failed = [size * longest > 300 for size, longest in model.shapes]
    assert failed[:2] == [True, True]
    assert not any(failed[2:])  # 1000, 500, 250: the budget stays halved
    assert loop.budget <= 250
    with pytest.raises(PipeError, match=r"a text of 301 tokens does not fit .* lower"):
        loop.run(["a" * 301], partial(letters, ["a" * 301]), model, 2)


def test_a_text_without_tokens_is_named_by_its_place() -> None:
    texts = [*make_texts(1500), "", "a"]

    def tokenise(rows: np.ndarray) -> Tokens:
        ids = [[1] * len(texts[row]) for row in rows]
        return Tokens({"input_ids": ids}, np.zeros(len(rows), np.int64))

    with pytest.raises(PipeError, match="text 1500 of 1502 has no tokens"):
        TokenLoop("cpu").run(texts, tokenise, Model(), 2)
