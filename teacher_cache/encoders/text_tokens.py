"""Token ids straight from a model's ``tokenizer.json``, the same under every transformers version.

Loading through transformers would depend on its version: 5 sets padding sides of its own and may
rebuild a tokenizer's post-processor. What is in the file is what the model was trained with.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from data_prep.errors import PipeError
from data_prep.files import read_json
from teacher_cache.encoders import check_texts


class TextTokens:
    """A tokenizer without padding, cut off where each call says.

    Attributes:
        eos: The end-of-text token as its settings name it; None if they name none.
        eos_id: Its number; None if there is none.
        closes: Whether the tokenizer puts that token after every text by itself.
    """

    def __init__(self, directory: Path) -> None:
        """Load the tokenizer.

        Args:
            directory: The model's directory, with ``tokenizer.json``.

        Raises:
            PipeError: The file is missing or damaged.
        """
        file = directory / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing narrower
            raise PipeError(
                f"the tokenizer {file} cannot be loaded ({error}), expected a whole "
                "tokenizer.json; check that the model was copied whole."
            ) from None
        self._tokenizer.no_padding()
        self.eos = _special_token(directory, "eos_token")
        self.eos_id: int | None = self._tokenizer.token_to_id(self.eos) if self.eos else None
        self._tokenizer.no_truncation()
        closed, plain = self._encode("a", special=True), self._encode("a", special=False)
        self.closes = self.eos_id is not None and closed[-1:] == [self.eos_id] != plain[-1:]

    def ids(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Tokenise texts, with the special tokens that the tokenizer itself adds.

        Args:
            texts: n texts.
            max_tokens: Longer ones are cut off on the right.

        Returns:
            The token ids of each text.
        """
        self._tokenizer.enable_truncation(max_length=max_tokens, direction="right")
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=True)
        return [encoding.ids for encoding in encoded]

    def count(self, text: str) -> int:
        """Count a text's tokens without special ones.

        Args:
            text: The text.

        Returns:
            The number of its tokens.

        Raises:
            PipeError: It holds a lone surrogate.
        """
        check_texts([text])
        self._tokenizer.no_truncation()
        return len(self._encode(text, special=False))

    def _encode(self, text: str, *, special: bool) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special).ids
        return ids


def _special_token(directory: Path, name: str) -> str | None:
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        path = directory / file
        settings: Any = read_json(path) if path.exists() else {}
        token = settings.get(name) if isinstance(settings, dict) else None
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str) and content:
            return content
    return None
