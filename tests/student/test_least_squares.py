"""Closed-form heads against what they must be best at."""

import torch
import torch.nn.functional as F

from student.least_squares import Moments


def moments_of(pooled_BH, target_BT, parts=3):
    moments = Moments(pooled_BH.shape[1], target_BT.shape[1])
    for pooled, target in zip(pooled_BH.chunk(parts), target_BT.chunk(parts), strict=True):
        moments.add(pooled, target)
    return moments


def apply(weights_DI, pooled_BH):
    return F.pad(pooled_BH.double(), (0, 1), value=1.0) @ weights_DI.mT


def test_a_linear_target_is_recovered():
    torch.manual_seed(0)
    pooled_BH = torch.randn(400, 6)
    true_TI = torch.randn(9, 7, dtype=torch.float64)
    target_BT = apply(true_TI, pooled_BH).float()
    found_TI = moments_of(pooled_BH, target_BT).regression()
    torch.testing.assert_close(found_TI, true_TI, rtol=1e-2, atol=1e-2)


def test_no_other_head_is_closer_to_a_noisy_target():
    torch.manual_seed(0)
    pooled_BH, target_BT = torch.randn(300, 5), torch.randn(300, 4)
    best_TI = moments_of(pooled_BH, target_BT).regression()

    def distance(weights):
        return (apply(weights, pooled_BH) - target_BT).square().sum()

    for _ in range(20):
        assert distance(best_TI) < distance(best_TI + 0.05 * torch.randn_like(best_TI))


def test_parts_add_up_to_the_whole():
    torch.manual_seed(0)
    pooled_BH, target_BT = torch.randn(90, 5), torch.randn(90, 4)
    whole, parts = moments_of(pooled_BH, target_BT, 1), moments_of(pooled_BH, target_BT, 9)
    torch.testing.assert_close(whole.regression(), parts.regression())
    assert whole.rows == parts.rows == 90


def test_a_small_head_keeps_the_similarities_as_well_as_the_best_low_rank():
    torch.manual_seed(0)
    pooled_BH, target_BT = torch.randn(200, 8), torch.randn(200, 12)
    moments = moments_of(pooled_BH, target_BT)
    full_TI = moments.regression()
    full_BT = apply(full_TI, pooled_BH)
    gram_BB = full_BT @ full_BT.mT
    for width in (2, 5):
        small_BD = apply(moments.principal(full_TI, width), pooled_BH)
        assert small_BD.shape == (200, width)
        left, values, _ = torch.linalg.svd(full_BT, full_matrices=False)
        best_BB = (left[:, :width] * values[:width] ** 2) @ left[:, :width].mT
        error = (small_BD @ small_BD.mT - gram_BB).norm()
        torch.testing.assert_close(error, (best_BB - gram_BB).norm(), rtol=1e-4, atol=1e-6)
