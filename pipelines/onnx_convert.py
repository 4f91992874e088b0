"""Converts an export to ONNX and encodes texts with it.

Run by itself, by the Python of an environment that has ``sentence-transformers[onnx]``; it imports
nothing of this project: ``python onnx_convert.py EXPORT WORK BACKEND``. ``WORK/texts.json`` holds
``texts``, ``roles`` and ``heads`` (the directory of each head); afterwards there are
``WORK/converted/onnx`` and one ``WORK/HEAD.npy`` for each head.
"""

import json
import sys
from pathlib import Path

import numpy as np


def main(directory: str, work: Path, backend: str) -> None:
    """Convert, save and encode.

    Args:
        directory: The export.
        work: Where the texts are, and where the results go.
        backend: ``onnx``, or ``torch`` to convert nothing.
    """
    # Of the other environment.
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    from sentence_transformers.models import Dense  # noqa: PLC0415

    given = json.loads((work / "texts.json").read_text(encoding="utf-8"))
    settings = {"export": True} if backend == "onnx" else {}
    model = SentenceTransformer(directory, device="cpu", backend=backend, model_kwargs=settings)
    if backend == "onnx":
        model[0].auto_model.save_pretrained(work / "converted")  # which puts it below onnx/
    pairs = list(zip(given["texts"], given["roles"], strict=True))
    for head, name in given["heads"].items():
        model[2] = Dense.load(str(Path(directory) / name))
        vectors = np.zeros((len(pairs), model[2].out_features), np.float32)
        for role, encode in (("question", model.encode_query), ("passage", model.encode_document)):
            places = [place for place, (_, found) in enumerate(pairs) if found == role]
            if places:
                vectors[places] = encode([pairs[place][0] for place in places])
        np.save(work / f"{head}.npy", vectors, allow_pickle=False)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
