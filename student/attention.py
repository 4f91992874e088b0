"""Attention: the check that it runs in both directions, and the kernel that computes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import is_flash_attn_2_available

from data_prep.errors import PipeError, first_line
from student.layers import layers_of

_FLASH = "flash_attention_2"
# The text that is tried: short, for a large model is slow on a CPU.
_TOKENS = 8
_PADDING = 2
_WINDOW = 2
# How far a text may move when it is padded, relative to its states: rounding, and no more.
_MOVED = {torch.float32: 1e-3, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class Reach:
    """How far apart two tokens of a text may be for one to move the other's state in a layer.

    Attributes:
        earlier: The furthest token to the left that moves a state.
        later: The furthest token to the right that does.
        padding: Whether padding moves the state of a token.
    """

    earlier: int
    later: int
    padding: bool


def use_attention(
    backbone: PreTrainedModel, attention: str, *, or_plain: bool = False
) -> PreTrainedModel:
    """Choose the kernel that computes a backbone's attention.

    Args:
        backbone: The model, a text backbone or a vision tower; changed in place. It still attends
            in both directions afterwards.
        attention: ``eager``, ``sdpa`` or ``flash_attention_2``.
        or_plain: Whether a backbone that lacks this kernel may take its plain one, as where the
            recipe says ``auto``.

    Returns:
        ``backbone``.

    Raises:
        PipeError: The backbone lacks the kernel, the machine does, or the backbone would attend
            to the left only with it.
    """
    # Asked first: transformers would look for a kernel on the hub where the package is missing.
    if attention == _FLASH and not is_flash_attn_2_available():
        lacking = "the package flash-attn" if torch.cuda.is_available() else "a GPU"
        raise PipeError(
            f"training.attention is {_FLASH!r}, and this machine lacks {lacking}; set it to "
            '"auto", which takes the fastest kernel at hand'
            f"{', or pip install flash-attn' if torch.cuda.is_available() else ''}."
        )
    kernels = _kernels(backbone)
    if attention not in kernels:
        if not or_plain:
            raise PipeError(
                f"training.attention is {attention!r}, and {type(backbone).__name__} has "
                f'{" and ".join(kernels)} only; set it to "auto" or to one of these.'
            )
        attention = "eager"
    if attention != backbone.config._attn_implementation:
        backbone.set_attn_implementation(attention)
        if backbone.main_input_name == "input_ids":  # a vision tower has no mask at all
            require_bidirectional(backbone)
    return backbone


def _kernels(backbone: PreTrainedModel) -> list[str]:
    """The names of the kernels that a backbone can run with."""
    current = backbone.config._attn_implementation
    if not backbone._can_set_attn_implementation():
        return [current]
    kernels = ["eager"]
    kernels += ["sdpa"] if backbone._supports_sdpa else []
    return kernels + ([_FLASH] if backbone._supports_flash_attn else [])


def require_bidirectional(backbone: PreTrainedModel) -> None:
    """Check in every layer that a later token moves an earlier one's state as an earlier one does.

    The mask that a model builds depends on the kernel, on whether anything is padded and on
    whether the text is longer than a sliding window; so a short text is tried with and without
    padding, and with every window narrower than it.

    Args:
        backbone: The model, with the kernel that it will run with.

    Raises:
        PipeError: The model does not run on a text's tokens alone, a layer attends to the left
            only, or padding moves the state of a token.
    """
    training, device = backbone.training, backbone.device
    flash = backbone.config._attn_implementation == _FLASH
    if flash:
        backbone.to("cuda")  # the kernel runs nowhere else, and in half precision only
    precision = torch.bfloat16 if flash else torch.float32
    backbone.eval()
    try:
        with (
            torch.no_grad(),
            torch.autocast(backbone.device.type, torch.bfloat16, enabled=flash),
            _narrow_windows(backbone),
        ):
            for padding in (0, _PADDING):
                _check_layers(backbone, padding)
            plain_LH = _states(backbone, 1, 0)[0]
            padded_LH = _states(backbone, 1, _PADDING)[0, :_TOKENS]
    finally:
        backbone.train(training).to(device)
    if (padded_LH - plain_LH).norm() > _MOVED[precision] * plain_LH.norm():
        raise _padding_counts(backbone)


def _check_layers(backbone: PreTrainedModel, padding: int) -> None:
    name = type(backbone).__name__
    for number, reach in enumerate(reaches(backbone, padding)):
        if reach.padding:
            raise _padding_counts(backbone)
        # Windows reach as far to both sides, but for what is lost in rounding.
        if reach.later == 0 or 2 * reach.later < reach.earlier:
            raise PipeError(
                f"{name} attends to the left only in its layer {number}, even with is_causal = "
                f"false (attention {backbone.config._attn_implementation}, text "
                f"{'with' if padding else 'without'} padding): a token sees {reach.earlier} "
                f"tokens before it and {reach.later} behind it. Choose a start that transformers "
                "can run in both directions."
            )


def _padding_counts(backbone: PreTrainedModel) -> PipeError:
    return PipeError(
        f"padding changes the vectors of {type(backbone).__name__}, so a text's vector would "
        "depend on the texts beside it; choose a start that leaves padding out."
    )


def reaches(backbone: PreTrainedModel, padding: int = 0) -> list[Reach]:
    """Measure how far a token's state is moved from in each layer.

    One text runs through the model in several copies. Before each layer, each copy but the last
    is given another state at one token, the first, the middle, the last or padding; where it
    differs from the last copy behind the layer, that token moved it.

    Args:
        backbone: The model, in evaluation mode.
        padding: Padding tokens behind the text.

    Returns:
        The reach of each layer, the lowest first.

    Raises:
        PipeError: The model does not run on token ids alone.
    """
    sources = [0, _TOKENS // 2, _TOKENS - 1, *range(_TOKENS, _TOKENS + padding)]
    copies = list(range(len(sources)))
    moved: dict[int, torch.Tensor] = {}

    def change(
        layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        states_BLH = args[0] if args else kwargs["hidden_states"]
        changed_BLH = states_BLH[-1:].repeat(len(states_BLH), 1, 1)
        changed_BLH[copies, sources] = states_BLH[-1].roll(_TOKENS // 2, 0)[sources]
        if args:
            return (changed_BLH, *args[1:]), kwargs
        return args, kwargs | {"hidden_states": changed_BLH}

    def compare(layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        states_BLH = output if isinstance(output, torch.Tensor) else output[0]
        moved[id(layer)] = (states_BLH[:-1] != states_BLH[-1]).any(-1).cpu()

    layers = layers_of(backbone)
    hooks = [layer.register_forward_pre_hook(change, with_kwargs=True) for layer in layers]
    hooks += [layer.register_forward_hook(compare) for layer in layers]
    try:
        _states(backbone, len(sources) + 1, padding)
    finally:
        for hook in hooks:
            hook.remove()
    return [_reach(sources, moved[id(layer)]) for layer in layers]


def _reach(sources: list[int], moved_SL: torch.Tensor) -> Reach:
    """Read off a table of which source (row) moved the state of which token (column)."""
    tokens_L = torch.arange(moved_SL.shape[1])
    further_SL = (tokens_L - torch.tensor(sources)[:, None]) * moved_SL
    text_S = torch.tensor(sources) < _TOKENS
    return Reach(
        earlier=int(further_SL[text_S, :_TOKENS].max()),
        later=int(-further_SL[text_S, :_TOKENS].min()),
        padding=bool(moved_SL[~text_S, :_TOKENS].any()),
    )


def _states(backbone: PreTrainedModel, copies: int, padding: int) -> torch.Tensor:
    """The last states of copies of one text, (copies, L, H), float32."""
    name, device = type(backbone).__name__, backbone.device
    filler = getattr(backbone.config, "pad_token_id", None) or 0
    known = [n for n in range(5, 5 + 2 * _TOKENS) if n != filler]
    ids_L = torch.tensor(known[:_TOKENS] + [filler] * padding, device=device)
    ids_L %= backbone.config.vocab_size
    mask_L = (torch.arange(len(ids_L), device=device) < _TOKENS).long()
    try:
        states = backbone(
            input_ids=ids_L.repeat(copies, 1), attention_mask=mask_L.repeat(copies, 1)
        ).last_hidden_state
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise PipeError(
            f"{name} does not turn token ids and a mask into one state a token "
            f"({first_line(error)}); choose a start that is a text encoder or a decoder alone."
        ) from None
    expected = (copies, len(ids_L), backbone.config.hidden_size)
    if states.shape != expected:
        raise PipeError(
            f"{name} gives states of shape {tuple(states.shape)} for {copies} texts of "
            f"{len(ids_L)} tokens, expected {expected}; choose a start with one state a token."
        )
    return states.float()  # type: ignore[no-any-return]


@contextmanager
def _narrow_windows(backbone: PreTrainedModel) -> Iterator[None]:
    """Make every sliding window narrower than the text that is tried."""
    # The whole of the settings is kept: ModernBERT computes its window from another one.
    places = [backbone.config, *backbone.modules()]
    kept = [
        (place, dict(place.__dict__))
        for place in places
        if isinstance(getattr(place, "sliding_window", None), int)
    ]
    try:
        for place, _ in kept:
            place.sliding_window = min(place.sliding_window, _WINDOW)
        yield
    finally:
        for place, settings in kept:
            place.__dict__.update(settings)
