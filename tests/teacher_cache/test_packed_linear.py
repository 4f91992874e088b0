"""Packed linear layers compute what the layers they replace compute."""

import pytest
import torch
from torch import nn

from teacher_cache.encoders.packed_linear import PackedLinear, pack_linears

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"
)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 7), (3, 5, 7), (2, 1024, 7)])
def test_the_same_numbers(shape: tuple[int, ...], dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 11, bias=bias), nn.Sequential(nn.GELU(), nn.Linear(11, 5)))
    model = model.to(dtype).eval()
    states = torch.randn(shape).to(dtype)
    with torch.inference_mode():
        wanted = model(states)
        pack_linears(model)
        found = model(states)
    assert found.shape == wanted.shape
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance)
    if dtype == torch.float32:
        assert {type(model[0]), type(model[1][1])} == {PackedLinear}


def test_what_cannot_be_packed_stays() -> None:
    class Own(nn.Linear):
        pass

    model = nn.Sequential(Own(3, 3), nn.Linear(3, 3).double(), nn.Embedding(3, 3))
    before = list(model)
    pack_linears(model)
    assert list(model) == before
