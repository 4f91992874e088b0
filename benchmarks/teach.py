"""How fast does a teacher encode, against ``SentenceTransformer.encode``?

all-MiniLM-L6-v2 on texts of mixed lengths, two threads, the same maximum length; the batch size
is the best of four for sentence-transformers. Float32 and bfloat16, the machine's matrix products
as the measure of what is possible.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from sentence_transformers import SentenceTransformer
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import alternate, finish, options, show
from teacher_cache.encoders.packed_linear import pack_linears
from teacher_cache.encoders.sentence_transformers import SentenceTransformersEncoder
from teacher_cache.models import model_directory
from teacher_cache.teachers import TEACHERS

_TEACHER = TEACHERS["all-minilm-l6-v2"]
_BATCH_SIZES = (16, 32, 64, 128)
_QUESTIONS = 0.2
_WORDS = "the of river and stone to in cloud lamp is green that quiet for window north"
# MiniLM's linear layers: four of 384 x 384 and two of 384 x 1536 in each of six layers.
_GEMM_FLOP_PER_TOKEN = 2 * 6 * (4 * 384 * 384 + 2 * 384 * 1536)
_PARTS = {
    "linear": ("linear", "addmm", "mm"),
    "attention": ("scaled_dot_product",),
    "activation": ("gelu",),
    "norm": ("native_layer_norm",),
}


def mixed_texts(count: int, directory: str | None) -> list[str]:
    """Passages and questions, real ones where there are any.

    Args:
        count: How many.
        directory: Holds ``data/corpus/passages.parquet`` and ``questions.parquet``; may be None.

    Returns:
        Four passages to a question, in random order.
    """
    rng = np.random.default_rng(0)
    questions = round(count * _QUESTIONS)
    corpus = Path(directory or "") / "data" / "corpus"
    if directory and corpus.is_dir():
        texts = []
        for file, wanted in (("passages", count - questions), ("questions", questions)):
            column = pq.read_table(corpus / f"{file}.parquet", columns=["text"])["text"]
            chosen = np.sort(rng.choice(len(column), wanted, replace=False))
            texts += column.take(chosen).to_pylist()
    else:
        words = _WORDS.split()
        lengths = rng.lognormal(4.5, 0.6, count).clip(3, 220).astype(int)
        lengths[:questions] = rng.integers(5, 15, questions)
        texts = [" ".join(rng.choice(words, length)) + "." for length in lengths]
    return [texts[place] for place in rng.permutation(count)]


def gemm_peak(dtype: torch.dtype, tries: int) -> float:
    """FLOP/s of the best of the matrix products that the model makes, plain or packed."""
    best = 0.0
    for tokens, width, out in ((1024, 384, 1536), (1024, 1536, 384), (2048, 384, 1536)):
        plain = torch.nn.Linear(width, out).to(dtype).eval()
        packed = torch.nn.Sequential(plain)
        pack_linears(packed)
        states = torch.randn(tokens, width).to(dtype)
        for layer in (plain, packed):
            with torch.inference_mode():
                seconds = min(_seconds(partial(layer, states)) for _ in range(tries))
            best = max(best, 2 * tokens * width * out / seconds)
    return best


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _shares(call: Callable[[], object]) -> dict[str, float]:
    """Which share of the processor's time goes into which part; tokens are made beside them."""
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        call()
    events = measured.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    shares = {
        part: sum(
            event.self_cpu_time_total
            for event in events
            if any(name in event.key for name in names)
        )
        / total
        for part, names in _PARTS.items()
    }
    return {**shares, "rest": 1 - sum(shares.values())}


def _least_cosine(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    return float(np.einsum("nd,nd->n", one.astype(np.float64), other.astype(np.float64)).min())


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__)
    torch.set_num_threads(2)
    count, rounds, tries = (10, 1, 2) if chosen.quick else (600, 3, 20)
    texts = mixed_texts(count, os.environ.get("JASPER_SHARED"))
    roles = ["passage"] * count
    reference = SentenceTransformer(str(model_directory(_TEACHER.model)), device="cpu")
    reference.max_seq_length = _TEACHER.max_tokens

    encoders = {
        dtype: SentenceTransformersEncoder(
            _TEACHER.model_copy(update={"dtype": dtype}), device="cpu"
        )
        for dtype in ("float32", "bfloat16")
    }
    candidates: dict[str, Callable[[], Any]] = {
        name: partial(encoder.encode, texts, roles) for name, encoder in encoders.items()
    }
    for size in _BATCH_SIZES[: 2 if chosen.quick else None]:
        candidates[f"sentence-transformers, {size}"] = partial(
            reference.encode, texts, batch_size=size, normalize_embeddings=True
        )
    seconds = alternate(candidates, rounds)
    rates = {name: count / time for name, time in seconds.items()}
    best = max(rate for name, rate in rates.items() if name not in encoders)
    wanted = reference.encode(texts, normalize_embeddings=True)
    cosines = {name: _least_cosine(candidates[name](), wanted) for name in encoders}

    work = encoders["float32"].work
    tokens = _tokens_of(reference, texts)
    peaks = {name: gemm_peak(getattr(torch, name), tries) for name in encoders}
    gemm = {
        name: rates[name] / count * tokens * _GEMM_FLOP_PER_TOKEN / peaks[name] for name in encoders
    }
    few = texts[:200]
    shares = {
        name: _shares(partial(one.encode, few, roles[: len(few)])) for name, one in encoders.items()
    }
    show(
        ["", "texts/s", "of ST"],
        [[name, rate, rate / best] for name, rate in rates.items()],
    )
    show(
        ["", "GEMM peak GFLOP/s", "reached", *shares["float32"]],
        [[name, peaks[name] / 1e9, gemm[name], *shares[name].values()] for name in encoders],
    )
    figures: dict[str, Any] = {
        "texts_per_s": round(rates["float32"], 1),
        "st_texts_per_s": round(best, 1),
        "vs_sentence_transformers": round(rates["float32"] / best, 2),
        "bf16_texts_per_s": round(rates["bfloat16"], 1),
        "bf16_vs_sentence_transformers": round(rates["bfloat16"] / best, 2),
        "padding_share": round(1 - work.tokens / work.computed, 4),
        "min_cosine": round(cosines["float32"], 6),
        "bf16_min_cosine": round(cosines["bfloat16"], 6),
        "gemm_share": round(gemm["float32"], 3),
        "bf16_gemm_share": round(gemm["bfloat16"], 3),
        "gemm_gflops": round(peaks["float32"] / 1e9),
        "bf16_gemm_gflops": round(peaks["bfloat16"] / 1e9),
        "parts": {part: round(share, 3) for part, share in shares["float32"].items()},
        "bf16_parts": {part: round(share, 3) for part, share in shares["bfloat16"].items()},
        "texts": count,
        "tokens_per_text": round(tokens / count, 1),
    }
    finish(figures, chosen.json)


def _tokens_of(model: SentenceTransformer, texts: list[str]) -> int:
    encoded = model.tokenizer(texts, truncation=True, max_length=_TEACHER.max_tokens)
    return sum(len(ids) for ids in encoded["input_ids"])


if __name__ == "__main__":
    main()
