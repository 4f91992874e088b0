"""The paper's second source as the recipe writes it, from a hub on this machine."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

from pipelines.recipe import load_recipe
from tests.data_prep.hub_data_set import REPO, served

READ = """
import sys
from data_prep.config import SourceConfig
from data_prep.sources import read_documents
for document in read_documents(SourceConfig.model_validate_json(sys.argv[1])):
    print(document.doc_id, document.role, document.text)
"""


def test_the_files_of_embedding_training_data(tmp_path: Path) -> None:
    rows = {
        "pairs.jsonl.gz": [["Who?", "He."], ["What?", "It."]],
        "triplets.jsonl.gz": [{"query": "Why?", "pos": ["So."], "neg": ["No."]}],
        "sets.jsonl.gz": [{"set": ["When?", "At what time?"]}],
    }
    files = {
        name: gzip.compress("".join(json.dumps(row) + "\n" for row in lines).encode())
        for name, lines in rows.items()
    }
    source = load_recipe("jasper", []).corpus.sources[1]
    path = source.path.replace("sentence-transformers/embedding-training-data", REPO)
    assert REPO in path
    settings = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    with served({**files, "README.md": b"# Pairs", "other.json": b"{}"}) as endpoint:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                READ,
                source.model_copy(update={"path": path}).model_dump_json(),
            ],
            env=settings | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.splitlines() == [
        "pairs.jsonl.gz:1 question Who?",
        "pairs.jsonl.gz:2 question What?",
        "sets.jsonl.gz:1 question When?",
        "triplets.jsonl.gz:1 question Why?",
    ], done.stderr
