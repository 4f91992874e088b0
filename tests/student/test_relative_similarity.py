"""The fast relative similarity loss against its definition."""

import pytest
import torch

from student import relative_similarity
from student.relative_similarity import (
    plan_pairs,
    relative_similarity_loss,
    relative_similarity_losses,
)


def by_definition(student_BB: torch.Tensor, teacher_BB: torch.Tensor, margin: float):
    """Equation 3, every pair of pairs: O(P^2) memory."""
    size = len(student_BB)
    i, j = torch.triu_indices(size, size, 1)
    s_P, t_P = student_BB[i, j], teacher_BB[i, j]
    should_be_above_PP = t_P[:, None] > t_P[None, :]
    hinge_PP = (s_P[None, :] - s_P[:, None] + margin).clamp(min=0)
    pairs = len(s_P)
    return (hinge_PP * should_be_above_PP).sum() / max(pairs * (pairs - 1) / 2, 1)


def gram(vectors_BD: torch.Tensor) -> torch.Tensor:
    unit_BD = torch.nn.functional.normalize(vectors_BD, dim=-1)
    return unit_BD @ unit_BD.mT


def by_the_authors(student_BB: torch.Tensor, teacher_BB: torch.Tensor, margin: float):
    """As in the authors' published code: a mean over i < j, in which a tie is no exception."""

    def differences(scores_BB):
        size = len(scores_BB)
        scores_P = scores_BB[tuple(torch.triu_indices(size, size, 1))]
        i, j = torch.triu_indices(len(scores_P), len(scores_P), 1)
        return scores_P[j] - scores_P[i]

    label = torch.where(differences(teacher_BB) < 0, 1, -1)
    return torch.relu(differences(student_BB) * label + margin).mean()


RULES = {"strict": by_definition, "authors": by_the_authors}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [3, 4, 7, 16, 33, 64])
@pytest.mark.parametrize("margin", [0.0, 0.015, 0.3])
@pytest.mark.parametrize("ties", [False, True])
def test_loss_and_gradient_equal_the_definition(size, margin, ties, rule):
    torch.manual_seed(size)
    teacher_BB = gram(torch.randn(size, 6, dtype=torch.float64))
    if ties:
        teacher_BB = (teacher_BB * 4).round() / 4
    vectors_BD = torch.randn(size, 5, dtype=torch.float64, requires_grad=True)

    expected = RULES[rule](gram(vectors_BD), teacher_BB, margin)
    (expected_gradient,) = torch.autograd.grad(expected, vectors_BD)
    found = relative_similarity_loss(gram(vectors_BD), plan_pairs(teacher_BB, rule), margin)
    (found_gradient,) = torch.autograd.grad(found, vectors_BD)

    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found_gradient, expected_gradient, rtol=1e-12, atol=1e-15)


def test_identical_texts_and_a_single_pair_cost_nothing():
    same_BB = torch.ones(5, 5)
    assert relative_similarity_loss(same_BB, plan_pairs(same_BB), 0.015) == 0
    two_BB = gram(torch.randn(2, 4))
    assert relative_similarity_loss(two_BB, plan_pairs(two_BB), 0.015) == 0


@pytest.mark.parametrize("margin", [0.0, 0.015, 0.3])
@pytest.mark.parametrize("rule", RULES)
def test_the_gradient_is_that_of_finite_differences(margin, rule):
    torch.manual_seed(0)
    teacher_BB = (gram(torch.randn(7, 4, dtype=torch.float64)) * 4).round() / 4
    plan = plan_pairs(teacher_BB, rule)
    vectors_BD = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v: relative_similarity_loss(gram(v), plan, margin), vectors_BD
    )


def test_the_two_rules_differ_on_ties_alone():
    torch.manual_seed(0)
    teacher_BB, student_BB = gram(torch.randn(9, 4)), gram(torch.randn(9, 4))

    def losses(teacher_BB):
        return [
            relative_similarity_loss(student_BB, plan_pairs(teacher_BB, rule), 0.015)
            for rule in RULES
        ]

    assert losses(teacher_BB)[0] == losses(teacher_BB)[1]
    strict, authors = losses((teacher_BB * 2).round())
    assert strict < authors


def test_only_the_teachers_order_matters():
    torch.manual_seed(0)
    student_BB, teacher_BB = gram(torch.randn(12, 5)), gram(torch.randn(12, 5))
    original = relative_similarity_loss(student_BB, plan_pairs(teacher_BB), 0.015)
    stretched = relative_similarity_loss(student_BB, plan_pairs(teacher_BB.exp() * 3), 0.015)
    assert original == stretched
    assert original > 0


def test_float32_gradient_is_close_to_float64():
    torch.manual_seed(1)
    teacher_BB = gram(torch.randn(128, 16, dtype=torch.float64))
    vectors_BD = torch.randn(128, 16, dtype=torch.float64)
    gradients = []
    for dtype in (torch.float64, torch.float32):
        leaf_BD = vectors_BD.to(dtype, copy=True).requires_grad_()
        relative_similarity_loss(gram(leaf_BD), plan_pairs(teacher_BB), 0.015).backward()
        gradients.append(leaf_BD.grad.double())
    assert (gradients[0] - gradients[1]).norm() / gradients[0].norm() < 1e-4


@pytest.mark.parametrize("together", [True, False])
def test_heads_computed_together_are_those_computed_alone(together, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(relative_similarity, "_CACHED_PAIRS", 10**9 if together else 0)
    plan = plan_pairs((gram(torch.randn(21, 4)) * 8).round())
    heads = [torch.randn(21, width, requires_grad=True) for width in (3, 9, 5)]
    losses_K = relative_similarity_losses([gram(head) for head in heads], plan, 0.015)
    weights_K = torch.tensor([1.0, -2.0, 0.5])
    found = torch.autograd.grad(losses_K @ weights_K, heads)
    for head, loss, weight, gradient in zip(heads, losses_K, weights_K, found, strict=True):
        alone = relative_similarity_loss(gram(head), plan, 0.015)
        assert alone == loss
        torch.testing.assert_close(torch.autograd.grad(weight * alone, head)[0], gradient)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_waits_for_a_number_from_the_device(rule):
    # A tensor without data cannot be asked for one.
    scores = [torch.randn(9, 9, device="meta", requires_grad=True) for _ in range(3)]
    losses_K = relative_similarity_losses(scores, plan_pairs(scores[0].detach(), rule), 0.015)
    losses_K.sum().backward()
    assert losses_K.shape == (3,)
    assert all(each.grad is not None and each.grad.shape == (9, 9) for each in scores)
