"""A whole run in seconds: generated texts, two dummy teachers, a tiny BERT."""

import json
import random
import subprocess
from pathlib import Path

from tests import warm
from tests.student.models import WORDS, save_backbone

RECIPE = """
name = "tiny"

[corpus]
seed = 3
rows_per_shard = 64
cut_fraction = 0.5
min_sentences = 1
max_sentences = 3
word_shuffle_fraction = 0.01
held_out_fraction = 0.05

[[corpus.sources]]
name = "documents"
path = "{root}/documents.jsonl"
weight = 0.8

[[corpus.sources]]
name = "questions"
path = "{root}/questions.jsonl"
role = "question"
weight = 0.2

[[teachers]]
name = "dummy"
dim = 24
weight = 3.0

[[teachers]]
name = "second"
kind = "dummy"
model = "second"
dim = 8
max_tokens = 64
license = "MIT"
prompts.question = "find: "

[student]
start = "{root}/start"
layers = [0, 2]
max_tokens = 32
default_head = "fc1"
heads.fc1 = "target"
heads.fc2 = 12

[losses]
cosine = 10.0
similarity = 200.0
relative_similarity = 20.0
margin = 0.015

[training]
precision = "fp32"

[[stages]]
name = "fc1"
trainable = ["heads.fc1"]
heads.fc1 = ["cosine", "similarity", "relative_similarity"]
batch_size = 32
learning_rate = 1e-2
steps = 20
log_every = 5
save_every = 5

[[stages]]
name = "last"
trainable = ["heads.fc1", "text.layers[-1:]"]
heads.fc1 = ["cosine", "similarity", "relative_similarity"]
batch_size = 32
learning_rate = 1e-3
steps = 20
log_every = 5
save_every = 5

[[stages]]
name = "reduce"
trainable = ["heads.*", "text.*"]
heads.fc1 = ["cosine", "similarity", "relative_similarity"]
heads.fc2 = ["similarity", "relative_similarity"]
target = "fc1"
batch_size = 32
learning_rate = 1e-3
steps = 20
log_every = 5
save_every = 5

[evaluation]
held_out_spans = 40
speed_texts = 40
example_query = "read a file"
"""


def write_inputs(root: Path, documents: int = 150) -> Path:
    """Write sources, a start and a recipe below a directory; return the recipe's path."""
    rng = random.Random(0)

    def sentence() -> str:
        words = rng.choices(WORDS, k=rng.randint(4, 9))
        return " ".join(words).capitalize() + "."

    root.mkdir(parents=True, exist_ok=True)
    with (root / "documents.jsonl").open("w") as file:
        for _ in range(documents):
            text = " ".join(sentence() for _ in range(rng.randint(1, 6)))
            file.write(json.dumps({"text": text}) + "\n")
    with (root / "questions.jsonl").open("w") as file:
        for _ in range(documents):
            file.write(json.dumps({"text": sentence()[:-1] + "?"}) + "\n")
    save_backbone(root / "start")
    recipe = root / "tiny.toml"
    recipe.write_text(RECIPE.format(root=root))
    return recipe


def pipe(*arguments: str, **options) -> subprocess.CompletedProcess:
    """Run the command line in a process of its own, as ``tests.warm.run``."""
    return warm.run("pipelines", *arguments, **options)
