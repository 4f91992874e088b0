"""How fast is the relative similarity loss, and how much memory does it take?

Forward and backward of one head for m texts, against the P x P definition as the authors
published it (up to 128 texts; beyond, it does not fit). One thread.
"""

import subprocess
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.harness import alternate, finish, options, show
from student.relative_similarity import plan_pairs, relative_similarity_loss

_WIDTH = 640
_NAIVE_UP_TO = 128
_MARGIN = 0.015


def _gram(vectors_BD: torch.Tensor) -> torch.Tensor:
    unit_BD = F.normalize(vectors_BD, dim=-1)
    return unit_BD @ unit_BD.mT


def naive_loss(scores_BB: torch.Tensor, teacher_BB: torch.Tensor, margin: float) -> torch.Tensor:
    """Equation 3 with a P x P matrix."""
    size = len(scores_BB)
    rows, columns = torch.triu_indices(size, size, 1)
    s_P, t_P = scores_BB[rows, columns], teacher_BB[rows, columns]
    above_PP = t_P[:, None] > t_P[None, :]
    hinge_PP = F.relu(s_P[None, :] - s_P[:, None] + margin)
    pairs = len(s_P)
    return (hinge_PP * above_PP).sum() / (pairs * (pairs - 1) / 2)


def _step(size: int, naive: bool) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(size)
    teacher_BB = _gram(torch.randn(size, _WIDTH, generator=generator))
    vectors_BD = torch.randn(size, _WIDTH, generator=generator).requires_grad_()

    def run() -> None:
        scores_BB = _gram(vectors_BD)
        if naive:
            loss = naive_loss(scores_BB, teacher_BB, _MARGIN)
        else:
            loss = relative_similarity_loss(scores_BB, plan_pairs(teacher_BB), _MARGIN)
        loss.backward()

    return run


def _peak_megabytes(size: int) -> float | None:
    """Memory that one step adds to a fresh process at its peak; None where only Linux can tell."""
    if not sys.platform.startswith("linux"):
        return None
    code = """
import pathlib, torch
from benchmarks.loss import _step
torch.set_num_threads(1)
def kilobytes(field):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))
_step(8, False)()
run = _step(%d, False)
pathlib.Path("/proc/self/clear_refs").write_text("5")  # begin the high-water mark anew
before = kilobytes("VmRSS")
run()
print(kilobytes("VmHWM") - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code % size], capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1024


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__)
    torch.set_num_threads(1)
    sizes = [32, 64] if chosen.quick else [32, 64, 128, 256, 512, 1024]
    rounds = 3 if chosen.quick else 5
    rows = []
    ratios = {}
    for size in sizes:
        candidates = {"ours": _step(size, naive=False)}
        if size <= _NAIVE_UP_TO:
            candidates["naive"] = _step(size, naive=True)
        seconds = alternate(candidates, rounds)
        ratio = seconds["naive"] / seconds["ours"] if "naive" in seconds else None
        ratios[size] = ratio
        rows.append([
            size,
            seconds["ours"] * 1e3,
            seconds["naive"] * 1e3 if "naive" in seconds else "",
            ratio if ratio else "",
        ])  # fmt: skip
    show(["m", "ours ms", "naive ms", "ratio"], rows)
    figures: dict[str, object] = {f"ms_{row[0]}": round(row[1], 3) for row in rows}
    figures |= {f"vs_naive_{size}": round(r, 1) for size, r in ratios.items() if r}
    if not chosen.quick:
        peak = _peak_megabytes(1024)
        figures["peak_mb_1024"] = round(peak, 1) if peak is not None else None
    finish(figures, chosen.json)


if __name__ == "__main__":
    main()
