"""Images in a text: the tokens that stand for them, and what is put in those tokens' places.

Shape legend: B sequences, L tokens, I images of the batch, N tokens of an image, H text width.
"""

from typing import Final

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data_prep.draws import draw
from data_prep.errors import PipeError

IMAGE_START: Final = "<|jasper_img_start|>"
IMAGE_TOKEN: Final = "<|jasper_img_token|>"  # noqa: S105
IMAGE_END: Final = "<|jasper_img_end|>"
"""As in the released Jasper; an image is the start, N times the token, and the end."""

_MARKERS: Final = (IMAGE_START, IMAGE_TOKEN, IMAGE_END)
_IN_EVERY_MARKER: Final = "<|jasper_img_"


def add_image_tokens(text: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
    """Give a tokenizer the tokens of an image, and a text encoder their embeddings.

    Tokens and embeddings that are there already stay as they are, and so do all others. The new
    embeddings are drawn around the mean of the others with their deviation; they do not train.

    Args:
        text: The text encoder, changed in place.
        tokenizer: Its tokenizer, changed in place.
        seed: Decides the new embeddings.
    """
    tokenizer.add_tokens(list(_MARKERS), special_tokens=True)
    before = text.get_input_embeddings().weight.detach()
    rows = max(tokenizer.convert_tokens_to_ids(list(_MARKERS))) + 1
    if rows <= len(before):
        return
    text.resize_token_embeddings(rows, mean_resizing=False)
    after = text.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(draw(seed, "image-tokens"))
    noise = torch.randn((rows - len(before), before.shape[1]), generator=generator)
    with torch.no_grad():
        after[: len(before)] = before
        after[len(before) :] = before.mean(0) + noise.to(before) * before.std(0)
        if (padding := tokenizer.pad_token_id) is not None and padding < len(before):
            after[padding] = before[padding]


def image_text(tokens: int) -> str:
    """What an image is in a text.

    Args:
        tokens: N.

    Returns:
        The start, N placeholders, and the end.
    """
    return f"{IMAGE_START}{IMAGE_TOKEN * tokens}{IMAGE_END}"


def without_image_tokens(text: str) -> str:
    """Take from a user's text what would stand for an image.

    Args:
        text: Any text.

    Returns:
        The text, with a space inside every marker of an image, which makes it ordinary words.
    """
    for marker in _MARKERS:
        text = text.replace(marker, marker.replace("<|", "<| "))
    return text


def texts_without_image_tokens(texts: list[str]) -> list[str]:
    """Take from users' texts what would stand for an image; one look tells that there is nothing.

    Args:
        texts: Any texts.

    Returns:
        The texts, each as ``without_image_tokens`` gives it.
    """
    if _IN_EVERY_MARKER not in "".join(texts):
        return texts
    return [without_image_tokens(text) for text in texts]


def place_images(
    embeddings_BLH: torch.Tensor, places_BL: torch.Tensor, tokens_INH: torch.Tensor
) -> torch.Tensor:
    """Put the images' tokens where the placeholders stand, in reading order.

    Args:
        embeddings_BLH: Embeddings of the sequences' tokens.
        places_BL: Whether a token is a placeholder.
        tokens_INH: The images' tokens, in the order in which the images stand in the sequences.

    Returns:
        Embeddings, (B, L, H); the gradient reaches the images' tokens.
    """
    tokens = tokens_INH.to(embeddings_BLH.dtype)
    return embeddings_BLH.masked_scatter(places_BL.unsqueeze(-1), tokens)


def require_room(tokens: int, max_tokens: int) -> None:
    """Check that an image fits in a sequence.

    Args:
        tokens: Length of an image alone, with all that stands around it.
        max_tokens: Longer sequences are cut off here.

    Raises:
        PipeError: It does not.
    """
    if tokens > max_tokens:
        raise PipeError(
            f"an image becomes {tokens} tokens, its start, end, a passage's prompt and the special "
            f"tokens included, and student.max_tokens is {max_tokens}; lower student.vision.tokens "
            "or raise max_tokens."
        )
