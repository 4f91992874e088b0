"""These tests need sentence-transformers[onnx] in an environment of its own: `make test-onnx`."""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    absent = not os.environ.get("PIPE_ONNX_PYTHON")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.onnx)
            if absent:
                item.add_marker(pytest.mark.skip(reason="PIPE_ONNX_PYTHON: make test-onnx"))


@pytest.fixture
def python() -> Path:
    return Path(os.environ["PIPE_ONNX_PYTHON"]).absolute()
