"""The weighted losses of a stage."""

import pytest
import torch
import torch.nn.functional as F

from data_prep.errors import PipeError
from student.config import LossConfig
from student.losses import distillation_loss, require_matching_widths
from student.stage_config import StageConfig
from tests.student.test_relative_similarity import by_definition, gram

LOSSES = LossConfig(cosine=10, similarity=200, relative_similarity=20, margin=0.015)
ALL = ("cosine", "similarity", "relative_similarity")


def stage(heads, **others):
    return StageConfig(
        name="s",
        trainable=("heads.*",),
        heads=heads,
        batch_size=8,
        learning_rate=1e-3,
        steps=1,
        **others,
    )


def test_one_head_is_equation_four_written_out():
    torch.manual_seed(0)
    vectors_BD, target_BT = torch.randn(9, 6), F.normalize(torch.randn(9, 6), dim=-1)
    found = distillation_loss({"fc1": vectors_BD}, target_BT, stage({"fc1": ALL}), LOSSES)

    unit_BD = F.normalize(vectors_BD, dim=-1)
    cosine = sum(1 - unit_BD[i] @ target_BT[i] for i in range(9))
    similarity = ((unit_BD @ unit_BD.T - target_BT @ target_BT.T) ** 2).mean()
    relative = by_definition(gram(vectors_BD), gram(target_BT), 0.015)
    expected = 10 * cosine + 200 * similarity + 20 * relative
    torch.testing.assert_close(found.total, expected)
    assert set(found.terms) == {"fc1/cosine", "fc1/similarity", "fc1/relative_similarity"}


def test_a_perfect_student_loses_nothing_at_margin_zero():
    target_BT = F.normalize(torch.randn(9, 6), dim=-1)
    config = LOSSES.model_copy(update={"margin": 0.0})
    found = distillation_loss({"fc1": 3 * target_BT}, target_BT, stage({"fc1": ALL}), config)
    assert found.total.abs() < 1e-4


def test_mse_is_the_squared_distance_of_the_heads_own_numbers():
    torch.manual_seed(0)
    vectors_BD, target_BT = torch.randn(8, 6), F.normalize(torch.randn(8, 6), dim=-1)
    config = LOSSES.model_copy(update={"mse": 3.0})
    found = distillation_loss({"fc1": vectors_BD}, target_BT, stage({"fc1": ("mse",)}), config)
    torch.testing.assert_close(found.total, 3 * 6 * F.mse_loss(vectors_BD, target_BT))
    # Of unit vectors it would be the cosine loss once more.
    unit = {"fc1": F.normalize(vectors_BD, dim=-1)}
    mean = config.model_copy(update={"cosine_reduction": "mean"})
    found = distillation_loss(unit, target_BT, stage({"fc1": ("mse", "cosine")}), mean)
    torch.testing.assert_close(found.terms["fc1/mse"], 2 * found.terms["fc1/cosine"])


def test_the_recipe_chooses_the_rule_for_ties():
    torch.manual_seed(0)
    vectors_BD, target_BT = torch.randn(9, 6), F.normalize(torch.ones(9, 6), dim=-1)
    relative = stage({"fc1": ("relative_similarity",)})
    authors = LOSSES.model_copy(update={"relative_ties": "authors"})
    assert distillation_loss({"fc1": vectors_BD}, target_BT, relative, LOSSES).total == 0
    assert distillation_loss({"fc1": vectors_BD}, target_BT, relative, authors).total > 0


def test_reductions():
    target_BT = F.normalize(torch.randn(8, 6), dim=-1)
    vectors = {"fc1": torch.randn(8, 6), "fc2": torch.randn(8, 3)}
    heads = {"fc1": ("cosine",), "fc2": ("similarity",)}
    total = distillation_loss(vectors, target_BT, stage(heads), LOSSES).total
    mean = LOSSES.model_copy(update={"heads_reduction": "mean"})
    torch.testing.assert_close(
        distillation_loss(vectors, target_BT, stage(heads), mean).total, total / 2
    )
    one = stage({"fc1": ("cosine",)})
    mean = LOSSES.model_copy(update={"cosine_reduction": "mean"})
    torch.testing.assert_close(
        distillation_loss(vectors, target_BT, one, mean).total * 8,
        distillation_loss(vectors, target_BT, one, LOSSES).total,
    )


def test_self_distillation_teaches_small_heads_from_the_first_and_leaves_it_alone():
    torch.manual_seed(0)
    target_BT = F.normalize(torch.randn(8, 6), dim=-1)
    fc1_BD = torch.randn(8, 6, requires_grad=True)
    fc2_BD = torch.randn(8, 3, requires_grad=True)
    vectors = {"fc1": fc1_BD, "fc2": fc2_BD}
    own = stage({"fc1": ("cosine",), "fc2": ("similarity",)}, target="fc1")
    loss = distillation_loss(vectors, target_BT, own, LOSSES)
    torch.testing.assert_close(
        loss.terms["fc2/similarity"], F.mse_loss(gram(fc2_BD), gram(fc1_BD)).detach()
    )
    loss.total.backward()
    alone_BD = fc1_BD.detach().clone().requires_grad_()
    distillation_loss(
        {"fc1": alone_BD}, target_BT, stage({"fc1": ("cosine",)}), LOSSES
    ).total.backward()
    torch.testing.assert_close(fc1_BD.grad, alone_BD.grad)


def test_losses_are_float32_under_autocast():
    target_BT = F.normalize(torch.randn(8, 6), dim=-1)
    vectors_BD = torch.randn(8, 6)
    plain = distillation_loss({"fc1": vectors_BD}, target_BT, stage({"fc1": ALL}), LOSSES).total
    with torch.autocast("cpu", torch.bfloat16):
        cast = distillation_loss({"fc1": vectors_BD}, target_BT, stage({"fc1": ALL}), LOSSES)
    assert cast.total.dtype == torch.float32
    assert cast.total == plain


@pytest.mark.parametrize(
    ("heads", "widths", "words"),
    [
        ({"fc1": ("cosine",)}, {"fc1": 5}, ["fc1", "5 wide", "6 wide", "cosine"]),
        ({"fc1": ("similarity", "mse")}, {"fc1": 5}, ["fc1", "5 wide", "6 wide", "mse"]),
        ({"fc9": ("similarity",)}, {"fc1": 6}, ["fc9", "fc1"]),
    ],
)
def test_a_head_that_cannot_be_compared_is_named(heads, widths, words):
    with pytest.raises(PipeError) as caught:
        require_matching_widths([stage(heads)], widths, target_width=6)
    assert all(word in str(caught.value) for word in words)
