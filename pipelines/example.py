"""One search with the exported student, to see it work."""

from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from data_prep.corpus import Corpus

_SEARCHED_ROWS = 2000
_SHOWN_CHARACTERS = 96


def example_search(export: Path, corpus: Path, query: str, hits: int = 3) -> str:
    """Search some of the corpus, as a user of the exported model would.

    Args:
        export: The exported directory.
        corpus: The corpus directory.
        query: What to look for.
        hits: How many results to show.

    Returns:
        The query and the nearest texts with their cosines.
    """
    opened = Corpus.open(corpus)
    texts, _ = opened.take(np.arange(min(opened.rows, _SEARCHED_ROWS)))
    model = SentenceTransformer(str(export), device="cpu")
    documents_BD = model.encode_document(texts, show_progress_bar=False)
    query_D = model.encode_query(query, show_progress_bar=False)
    scores_B = documents_BD @ query_D
    lines = [f"search for {query!r} among {len(texts):,} texts of the corpus:"]
    for row in np.argsort(-scores_B)[:hits]:
        text = " ".join(texts[row].split())
        shown = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
        lines.append(f"  {scores_B[row]:.3f}  {shown}")
    return "\n".join(lines)
