"""Evaluation sets on disk: what is there, and reading it into typed objects.

The layout, below any directory::

    sts/NAME.jsonl                    {"sentence1", "sentence2", "score"}
    retrieval/NAME/corpus.jsonl.gz    {"_id", "title", "text"}       (BEIR; .jsonl serves too)
    retrieval/NAME/queries.jsonl      {"_id", "text"}
    retrieval/NAME/qrels.tsv          query-id, corpus-id, score; one header line
    classification/NAME/train.jsonl   {"text", "label"}; test.jsonl likewise

Beside a set, ``KIND/NAME.instruction.txt`` may say what its task is; models that take instructions
read it in front of every text but documents. Other fields of a line are ignored.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.errors import PipeError
from student.evaluation.set_files import (
    Document,
    Labelled,
    Pair,
    Query,
    read_jsonl,
    read_qrels,
    read_text,
)


@dataclass(frozen=True, slots=True)
class StsSet:
    """Sentence pairs with a human score of their similarity.

    Attributes:
        name: The set's name.
        first: One sentence of each pair.
        second: The other.
        scores: The human scores, on any scale.
        instruction: What the task is, if the set says so.
    """

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Documents, queries, and which documents serve which query.

    Attributes:
        name: The set's name.
        document_ids: Names of the documents.
        documents: Their texts: title, a space, text.
        query_ids: Names of the judged queries.
        queries: Their texts.
        qrels: For each judged query, the gain of each judged document.
        instruction: What the task is, if the set says so.
    """

    name: str
    document_ids: tuple[str, ...]
    documents: tuple[str, ...]
    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    qrels: Mapping[str, Mapping[str, int]]
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class ClassificationSet:
    """Labelled texts to learn from, and others to be tested on.

    Attributes:
        name: The set's name.
        train_texts: Texts of the train split.
        train_labels: Their labels.
        test_texts: Texts of the test split.
        test_labels: Their labels.
        instruction: What the task is, if the set says so.
    """

    name: str
    train_texts: tuple[str, ...]
    train_labels: tuple[str, ...]
    test_texts: tuple[str, ...]
    test_labels: tuple[str, ...]
    instruction: str | None = None


EvaluationSet = StsSet | RetrievalSet | ClassificationSet


@dataclass(frozen=True, slots=True)
class SetFiles:
    """A set that is there and has not been read yet.

    Attributes:
        kind: A row of ``KINDS``, which is also the directory's name.
        name: The set's name, with its kind in front where another kind has one of that name.
        path: Its file or directory.
    """

    kind: str
    name: str
    path: Path

    @property
    def instruction(self) -> Path:
        """Where its instruction stands, if it has one."""
        return self.path.parent / f"{self.path.name.removesuffix('.jsonl')}.instruction.txt"


def _read_sts(files: SetFiles) -> StsSet:
    pairs = read_jsonl(files.path, Pair)
    if len({pair.score for pair in pairs}) < 2:
        raise PipeError(
            f"{files.path} gives every pair the score {pairs[0].score:g}; expected scores that "
            "differ, with which cosines can be correlated."
        )
    return StsSet(
        name=files.name,
        first=tuple(pair.sentence1 for pair in pairs),
        second=tuple(pair.sentence2 for pair in pairs),
        scores=tuple(pair.score for pair in pairs),
    )


def _read_retrieval(files: SetFiles) -> RetrievalSet:
    packed = files.path / "corpus.jsonl.gz"
    documents_path = packed if packed.exists() else files.path / "corpus.jsonl"
    documents = read_jsonl(documents_path, Document)
    _refuse_twins(documents_path, [document.id for document in documents])
    asked = read_jsonl(files.path / "queries.jsonl", Query)
    _refuse_twins(files.path / "queries.jsonl", [query.id for query in asked])
    queries = {query.id: query.text for query in asked}
    qrels_path = files.path / "qrels.tsv"
    qrels = read_qrels(qrels_path)
    for query_id in qrels:
        if query_id not in queries:
            raise PipeError(
                f"{qrels_path} judges the query {query_id!r}, which queries.jsonl does not have; "
                "expected every judged query there, so give the files of one set."
            )
    known = {document.id for document in documents}
    judged = [document for gains in qrels.values() for document in gains]
    if lacking := [document for document in judged if document not in known]:
        raise PipeError(
            f"{qrels_path} judges {len(lacking):,} of {len(judged):,} documents that "
            f"{files.path.name}'s corpus does not have, such as {lacking[0]!r}; expected ids of "
            "that corpus in its second column, so give the files of one set."
        )
    if not any(gain > 0 for gains in qrels.values() for gain in gains.values()):
        raise PipeError(f"{qrels_path} calls no document relevant; expected a score above 0.")
    return RetrievalSet(
        name=files.name,
        document_ids=tuple(document.id for document in documents),
        documents=tuple(f"{document.title} {document.text}".strip() for document in documents),
        query_ids=tuple(qrels),
        queries=tuple(queries[query_id] for query_id in qrels),
        qrels=qrels,
    )


def _refuse_twins(path: Path, ids: Sequence[str]) -> None:
    (name, uses), *_ = Counter(ids).most_common(1)
    if uses > 1:
        raise PipeError(f"{path} has the id {name!r} {uses} times; expected every id once.")


def _read_classification(files: SetFiles) -> ClassificationSet:
    train = read_jsonl(files.path / "train.jsonl", Labelled)
    test = read_jsonl(files.path / "test.jsonl", Labelled)
    labels = {row.label for row in train}
    if len(labels) < 2:
        raise PipeError(
            f"{files.path / 'train.jsonl'} has one label only; expected two or more to tell apart."
        )
    if labels.isdisjoint(row.label for row in test):
        raise PipeError(
            f"{files.path / 'test.jsonl'} has no label of train.jsonl (found {test[0].label!r}, "
            f"expected labels such as {train[0].label!r}); give the files of one set."
        )
    return ClassificationSet(
        name=files.name,
        train_texts=tuple(row.text for row in train),
        train_labels=tuple(row.label for row in train),
        test_texts=tuple(row.text for row in test),
        test_labels=tuple(row.label for row in test),
    )


@dataclass(frozen=True, slots=True)
class SetKind:
    """Where a kind of set lies and how it is read.

    Attributes:
        pattern: Glob below the directory.
        read: Reads one set.
    """

    pattern: str
    read: Callable[[SetFiles], EvaluationSet]


KINDS: dict[str, SetKind] = {
    "sts": SetKind("sts/*.jsonl", _read_sts),
    "retrieval": SetKind("retrieval/*/qrels.tsv", _read_retrieval),
    "classification": SetKind("classification/*/test.jsonl", _read_classification),
}
"""A kind of evaluation set is a row; ``student.evaluation.local_tasks`` scores it."""


def find_sets(directory: Path) -> tuple[SetFiles, ...]:
    """Find the evaluation sets below a directory, without reading them.

    Args:
        directory: Holds ``sts``, ``retrieval`` or ``classification``.

    Returns:
        The sets, by kind in the order of ``KINDS``, then by name. Sets of different kinds with one
        name are told apart as ``kind/name``.

    Raises:
        PipeError: The directory is missing or holds no set, a set lacks the file that it is known
            by, or an instruction belongs to no set.
    """
    if not directory.is_dir():
        raise PipeError(f"found no directory {directory}; expected one with evaluation sets.")
    found = []
    for kind, row in KINDS.items():
        for path in sorted(directory.glob(row.pattern)):
            place = path if kind == "sts" else path.parent
            found.append(SetFiles(kind, place.name.removesuffix(".jsonl"), place))
        _refuse_parts(directory / kind, row, [files for files in found if files.kind == kind])
    if not found:
        patterns = ", ".join(row.pattern for row in KINDS.values())
        raise PipeError(
            f"found no evaluation set below {directory}; expected files like {patterns} there."
        )
    uses = Counter(files.name for files in found)
    return tuple(
        replace(files, name=f"{files.kind}/{files.name}") if uses[files.name] > 1 else files
        for files in found
    )


def _refuse_parts(directory: Path, row: SetKind, found: Sequence[SetFiles]) -> None:
    """Stop at what belongs to a set and would be passed over in silence."""
    places = {files.path for files in found}
    for path in sorted(directory.glob("*/*.jsonl*")):
        if path.parent not in places:
            wanted = path.parent / Path(row.pattern).name
            raise PipeError(
                f"found {path} and no {wanted.name} beside it; an evaluation set needs it."
            )
    instructions = {files.instruction for files in found}
    for path in sorted(directory.glob("*.instruction.txt")):
        if path not in instructions:
            raise PipeError(
                f"{path} is the instruction of no set; expected a set "
                f"{path.name.removesuffix('.instruction.txt')!r} beside it."
            )


def read_set(files: SetFiles) -> EvaluationSet:
    """Read one evaluation set.

    Args:
        files: What ``find_sets`` found.

    Returns:
        The set.

    Raises:
        PipeError: A file is missing, empty or malformed; the sentence names file and line.
    """
    data = KINDS[files.kind].read(files)
    if not files.instruction.is_file():
        return data
    return replace(data, instruction=read_text(files.instruction))
