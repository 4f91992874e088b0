"""These tests need vLLM, which has an environment of its own: `make test-vllm`."""

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    absent = importlib.util.find_spec("vllm") is None
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.vllm)
            if absent:
                item.add_marker(pytest.mark.skip(reason="vLLM is not installed: make test-vllm"))
