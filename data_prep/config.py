"""What decides a corpus: its sources, how documents become spans, and the mixture."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Role = Literal["passage", "question"]
Take = Literal["query", "passages", "all"]
OnError = Literal["stop", "skip"]
Fraction = float


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SourceConfig(Settings):
    """One source of documents.

    Attributes:
        name: Stands in the corpus beside every text.
        path: A file, a directory or a glob, here or on any fsspec file system (``s3://``,
            ``hf://``, ...), or the name of a ``datasets`` data set.
        format: A row of ``data_prep.sources.FORMATS``; ``auto`` goes by the suffix.
        text_field: The field or column that holds the text.
        id_field: The field that names a document; without one, file and line number do.
        take: For records of several texts (pairs, triplets, a query with its passages, sets): the
            query or else the first text, the passages, or all. Without it, ``text_field`` alone.
        columns: Names of the columns of CSV and TSV files that have no header.
        subset: Configuration name, for ``datasets``.
        split: Split, for ``datasets``.
        role: Whether its texts are passages or questions; teachers prompt them differently. With
            ``take``, queries are questions and their passages passages, whatever it says.
        weight: Its share of the corpus, by number of texts, relative to the other sources.
        cut_fraction: Overrides the corpus's; by default questions are never cut.
        license: Stated in the manifest and in the student's model card.
        language: ISO 639-1 code of the rules that find its sentences.
        on_error: Whether a record or a file that cannot be read stops the command, or is left out
            and counted.
        max_documents: Reads no more than so many documents, in the source's own order.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    path: str = ""
    format: str = "auto"
    text_field: str = "text"
    id_field: str | None = None
    take: Take | None = None
    columns: tuple[str, ...] = ()
    subset: str | None = None
    split: str = "train"
    role: Role = "passage"
    weight: float = Field(default=1.0, gt=0)
    cut_fraction: Fraction | None = Field(default=None, ge=0, le=1)
    license: str | None = None
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}$")
    on_error: OnError = "stop"
    max_documents: int | None = Field(default=None, gt=0)


class CorpusConfig(Settings):
    """How a corpus is made (paper, section 3.2).

    Attributes:
        sources: Where documents come from.
        texts: Number of spans wanted; None takes as many as the scarcest source allows.
        seed: Decides, with each document's identity, every random choice.
        rows_per_shard: Rows in a shard of the corpus and of the store; a multiple of 64.
        cut_fraction: Fraction of the documents that are cut into short spans.
        min_sentences: Fewest sentences of a short span.
        max_sentences: Most sentences of a short span.
        word_shuffle_fraction: Fraction of the spans whose words are shuffled.
        held_out_fraction: Fraction of the rows, by whole documents, that training never sees.
        min_characters: Documents and spans with fewer are dropped.
        max_characters: Longer documents end at the last sentence boundary before so many.
        decontaminate: Directories or files of evaluation texts; spans that share an n-gram with
            one of them are dropped. A relative path is below the working directory.
        decontaminate_words: Words of such an n-gram.
    """

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    texts: int | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0)
    rows_per_shard: int = Field(gt=0, multiple_of=64)
    cut_fraction: Fraction = Field(ge=0, le=1)
    min_sentences: int = Field(gt=0)
    max_sentences: int = Field(gt=0)
    word_shuffle_fraction: Fraction = Field(ge=0, le=1)
    held_out_fraction: Fraction = Field(ge=0, lt=1)
    min_characters: int = Field(default=2, ge=1)
    max_characters: int = Field(default=1_000_000, gt=0)
    decontaminate: tuple[str, ...] = ()
    decontaminate_words: int = Field(default=13, ge=2)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_sentences > self.max_sentences:
            raise ValueError(
                f"min_sentences is {self.min_sentences} and max_sentences {self.max_sentences}; "
                "expected the first to be no larger than the second"
            )
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"source names are {names}; expected each to be different")
        return self
