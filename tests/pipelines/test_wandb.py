"""Weights & Biases, offline: where it lies, what it holds, and one run for a resumed stage."""

import json
import struct
import sys

import pytest

wandb = pytest.importorskip("wandb")
records = pytest.importorskip("wandb.proto.wandb_internal_pb2")

ASKED = "logging.wandb=tests"


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    for name, value in {"MODE": "offline", "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    for name in ("CACHE_DIR", "CONFIG_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "wandb-home"))


def runs(places, number=1):
    return sorted((places.stage(number) / "wandb").glob("offline-run-*"))


def written(log):
    """The records of a LevelDB log behind a header of seven bytes, as the package writes it."""
    place, parts = 7, []
    while place + 7 <= len(log):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", log, place)
        parts.append(log[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


def sent(directory):
    """The settings and the lines of metrics in an offline run's file."""
    (file,) = directory.glob("*.wandb")
    run, lines = None, []
    for data in written(file.read_bytes()):
        record = records.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "run":
            run = record.run
        elif record.WhichOneof("record_type") == "history":
            items = record.history.item
            line = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}
            lines.append({k: v for k, v in line.items() if not k.startswith("_")})
    return run, lines


def metrics(places, number=1):
    return [json.loads(line) for line in places.metrics(number).read_text().splitlines()]


def test_the_metrics_under_their_own_names(distill):
    code, output = distill(ASKED)
    assert code == 0, output
    (directory,) = runs(distill.places)
    run, lines = sent(directory)
    assert lines == metrics(distill.places) and len(lines) == 4
    assert (run.project, run.run_group, run.display_name) == ("tests", "tiny", "stage 1 (fc1)")
    assert str(directory) in output
    record = json.loads(distill.places.identity(1).read_text())
    assert "logging" not in json.dumps(record)


def test_a_resumed_stage_goes_on_with_its_run(distill, monkeypatch):
    from student.trainer import DistillTrainer

    compute = DistillTrainer.compute_loss

    def stopped(self, *arguments, **others):
        if self.state.global_step == 12:
            raise KeyboardInterrupt
        return compute(self, *arguments, **others)

    monkeypatch.setattr(DistillTrainer, "compute_loss", stopped)
    assert distill(ASKED)[0] == 130
    monkeypatch.setattr(DistillTrainer, "compute_loss", compute)
    code, output = distill(ASKED)
    assert code == 0, output
    directories = runs(distill.places)
    found = [sent(directory) for directory in directories]
    assert len({run.run_id for run, _ in found}) == 1
    lines = [line for _, lines in found for line in lines]
    assert sorted(line["step"] for line in lines) == [5, 10, 15, 20]
    # Whoever turns it off, or on, in the middle of a run finds the same student.
    assert distill(stage=2)[0] == 0
    assert not runs(distill.places, 2)


def test_without_the_package_it_is_a_sentence(distill, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, output = distill(ASKED)
    assert code == 1 and "pip install 'jasper-distill[wandb]'" in output
    assert not distill.places.identity(1).exists()


def test_a_refused_log_in_is_a_sentence(distill, monkeypatch):
    def refuse(*_, **__):
        raise wandb.errors.UsageError("api_key not configured")

    monkeypatch.setattr(wandb, "init", refuse)
    code, output = distill(ASKED)
    assert code == 1 and "api_key not configured" in output and "WANDB_MODE=offline" in output
