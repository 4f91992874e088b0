"""One model in vLLM: token ids in, pooled states out.

Shape legend: n texts, H the tower's width.
"""

import gc
import json
import os
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from data_prep.errors import PipeError
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.token_loop import Tokens
from teacher_cache.encoders.vllm.plugin import register
from teacher_cache.golden import GOLDEN
from teacher_cache.workers import local_place

Pooling = Literal["MEAN", "LAST", "CLS"]

_TOKENS_ON_CPU = 2048
_TOKENS_ON_GPU = 16_384
_CACHE_ON_CPU = 1 << 30  # bytes; only causal towers use it

# vLLM wants a tokenizer even where it is given token ids only; this one knows no words.
_NO_WORDS: Mapping[str, Any] = {
    "version": "1.0",
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"},
    "added_tokens": [],
}
_NO_WORDS_SETTINGS: Mapping[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "unk_token": "<unk>",
}

_ENVIRONMENT: Mapping[str, str] = {
    # In this process, every text is there before the first batch is made: the same batches, and so
    # the same bytes, at every run.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


class VllmEngine:
    """A tower in vLLM.

    Attributes:
        max_tokens: Longer texts do not fit.
    """

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any],
        teacher: TeacherConfig,
        pooling: Pooling,
        device: str = "auto",
    ) -> None:
        """Start vLLM.

        Args:
            directory: Holds the weights.
            config: What vLLM shall find in ``config.json``.
            teacher: Gives the dtype and the maximum length.
            pooling: How the states of a text become one.
            device: ``auto``, or the kind of device that this build of vLLM runs on.

        Raises:
            PipeError: vLLM cannot run the model, or runs elsewhere.
        """
        # What the comparison with transformers has left behind makes room.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self.max_tokens = _longest(config, teacher)
        try:
            from vllm import LLM, PoolingParams  # noqa: PLC0415  seconds to import
            from vllm.config import PoolerConfig  # noqa: PLC0415
            from vllm.platforms import current_platform  # noqa: PLC0415
        except Exception as error:  # raised by any of the libraries below
            raise PipeError(
                f"vLLM cannot be imported ({_line(error)}), expected an environment of its own; "
                "make one with `make .venv-vllm/.installed`."
            ) from error
        self._params = PoolingParams
        on_cpu = current_platform.is_cpu()
        if device not in ("auto", current_platform.device_type):
            raise PipeError(
                f"found the device {device!r}, expected auto, because vLLM runs on every "
                f"{current_platform.device_type} device that it sees; choose one with "
                "CUDA_VISIBLE_DEVICES."
            )
        gpus = 0 if on_cpu else torch.cuda.device_count()
        if gpus > 1 and local_place(os.environ) % gpus:
            raise PipeError(
                f"found {gpus} GPUs for place {local_place(os.environ)} among the processes of "
                "this machine, expected one, because vLLM takes the first; give each process its "
                "own with CUDA_VISIBLE_DEVICES, as `srun --gpus-per-task=1` and Ray do."
            )
        register()
        with tempfile.TemporaryDirectory(prefix="jasper-vllm-") as staged:
            _stage(Path(staged), directory, config)
            try:
                self._llm = LLM(
                    model=staged,
                    runner="pooling",
                    dtype=teacher.dtype,
                    max_model_len=self.max_tokens,
                    max_num_batched_tokens=max(
                        self.max_tokens, _TOKENS_ON_CPU if on_cpu else _TOKENS_ON_GPU
                    ),
                    pooler_config=PoolerConfig(seq_pooling_type=pooling, use_activation=False),
                    load_format="safetensors",
                    enforce_eager=True,
                    enable_prefix_caching=False,
                    enable_chunked_prefill=False,
                    disable_log_stats=True,
                    use_tqdm_on_load=False,
                    kv_cache_memory_bytes=_CACHE_ON_CPU if on_cpu else None,
                )
            except Exception as error:  # raised by any of the libraries below
                raise PipeError(
                    f"vLLM cannot run the model in {directory} ({_line(error)}), expected one of "
                    "an architecture that it supports and that fits the memory; use "
                    "`--engine transformers`."
                ) from error
        weakref.finalize(self, _shut_down, self._llm)

    def check(self, teacher: TeacherConfig) -> None:
        """Check that texts fit.

        Args:
            teacher: The teacher's settings.

        Raises:
            PipeError: They may be longer than vLLM was started for.
        """
        if teacher.max_tokens > self.max_tokens:
            raise PipeError(
                f"found max_tokens {teacher.max_tokens} for teacher {teacher.name}, expected at "
                f"most {self.max_tokens}, for which vLLM was started; start it again."
            )

    def pooled(self, tokens: Tokens) -> torch.Tensor:
        """Pool the states of texts, without what a request leaves out in front.

        Args:
            tokens: n texts, at least one.

        Returns:
            (n, H) float32 on the CPU, not normalised.

        Raises:
            PipeError: A text has no tokens, or vLLM fails.
        """
        spans = [{"skip": skip} if skip else None for skip in tokens.skip.tolist()]
        return self._run(tokens, spans)

    def first_states(self, tokens: Tokens) -> torch.Tensor:
        """Give the first token's state of each text; only of this project's architectures.

        Args:
            tokens: n texts, at least one.

        Returns:
            (n, H) float32 on the CPU, not normalised.

        Raises:
            PipeError: A text has no tokens, or vLLM fails.
        """
        return self._run(tokens, [{"stop": 1}] * len(tokens.skip))

    def _run(self, tokens: Tokens, spans: Sequence[Mapping[str, int] | None]) -> torch.Tensor:
        ids = tokens.columns["input_ids"]
        tokens.expect_some(np.arange(len(ids)), len(ids))
        params = [
            self._params(use_activation=False, extra_kwargs=dict(span) if span else None)
            for span in spans
        ]
        try:
            outputs = self._llm.encode(
                [{"prompt_token_ids": list(text)} for text in ids],
                pooling_params=params,
                pooling_task="embed",
                use_tqdm=False,
            )
        except Exception as error:  # raised by any of the libraries below
            raise PipeError(
                f"vLLM failed to encode {len(ids)} texts ({_line(error)}), expected it to run this "
                "model on this device; use `--engine transformers`."
            ) from error
        return torch.stack([output.outputs.data.float().cpu() for output in outputs])


def _stage(staged: Path, directory: Path, config: Mapping[str, Any]) -> None:
    """Put a model's weights beside a config of ours.

    What vLLM would read of pooling, heads, lengths and tokens by itself differs between its
    versions; all of that is done here, so the files stay away from it.
    """
    for name, content in (
        ("config.json", config),
        ("tokenizer.json", _NO_WORDS),
        ("tokenizer_config.json", _NO_WORDS_SETTINGS),
    ):
        (staged / name).write_text(json.dumps(content))
    for pattern in ("*.safetensors", "*.safetensors.index.json"):
        for file in directory.glob(pattern):
            (staged / file.name).symlink_to(file.resolve())


def _longest(config: Mapping[str, Any], teacher: TeacherConfig) -> int:
    """Tokens of the longest text; published scores may need longer ones than the corpus."""
    golden = GOLDEN[teacher.golden].max_tokens if teacher.golden != "none" else 0
    most = config.get("max_position_embeddings")
    return max(teacher.max_tokens, min(golden, most) if isinstance(most, int) else golden)


def _line(error: Exception) -> str:
    """The last line of an error's text, where several libraries put what matters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _shut_down(llm: Any) -> None:
    """Give a model's memory back, so that the next teacher finds it free."""
    with suppress(Exception):  # its parts may be gone already when the process ends
        llm.llm_engine.engine_core.shutdown()
