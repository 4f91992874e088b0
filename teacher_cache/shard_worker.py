"""A teacher at work on shards, wherever it is made: here, or in an actor on another machine."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from data_prep.executors import Begun, done
from teacher_cache.canary import check_canary
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import Encoder, as_factored
from teacher_cache.factored_check import check_factored
from teacher_cache.running import mark
from teacher_cache.store import TeacherStore

if TYPE_CHECKING:
    from data_prep.corpus import Corpus

Encode: TypeAlias = Callable[[Sequence[str], Sequence[str]], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class ShardDone:
    """What became of a shard.

    Attributes:
        rows: Rows that were encoded; 0 if another worker had committed the shard meanwhile.
        seconds: Time that it took to encode and commit them, without waiting in between.
    """

    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ShardWorkerMaker:
    """Makes a worker where it is called; travels by pickle, the vectors never do.

    Attributes:
        store: Where the vectors go; its directory must be there.
        corpus: Where the texts are; likewise.
        teacher: The teacher's settings.
        load: Loads the teacher.
        session: Names the call that the work belongs to.
        engine: What runs the teacher, for the records; None if that is not known.
    """

    store: TeacherStore
    corpus: "Corpus"
    teacher: TeacherConfig
    load: Callable[[], Encoder]
    session: str
    engine: str | None = None

    def __call__(self) -> "ShardWorker":
        """Load the teacher, check it, and enter it into the store.

        Returns:
            The worker.

        Raises:
            PipeError: The teacher cannot be loaded, is not the one that the store has, or its
                canary's vectors are not what they should be, or its states do not give its vectors.
        """
        encoder = self.load()
        if encoder.dim != self.teacher.dim:
            raise PipeError(
                f"found vectors of {encoder.dim} numbers from {self.teacher.name}, expected "
                f"{self.teacher.dim}; mend the teacher's `dim`."
            )
        encode, head = encoder.encode, None
        if self.teacher.storage == "factored":
            factored = as_factored(encoder, self.teacher)
            check_factored(self.teacher, encoder, factored)
            encode, head = factored.encode_states, factored.head
        # Only now, so that a teacher that cannot be loaded leaves no entry behind.
        self.store.add_teacher(self.teacher, head)
        check_canary(self.store.directory, self.teacher, encoder)
        return ShardWorker(self, encode)


class ShardWorker:
    """A loaded and checked teacher that encodes shards; committing one needs it no more.

    Not for ``Processes``: what it leaves to do holds the vectors and the shard's live mark, and
    neither travels by pickle.
    """

    def __init__(self, maker: ShardWorkerMaker, encode: Encode) -> None:
        """Use ``ShardWorkerMaker``.

        Args:
            maker: What it works on.
            encode: Texts and their roles to what the store keeps of them.
        """
        self._store = maker.store
        self._corpus = maker.corpus
        self._teacher = maker.teacher.name
        self._session = maker.session
        self._engine = maker.engine
        self._encode = encode

    def __call__(self, shard: int) -> Begun[ShardDone]:
        """Encode a shard, unless another worker has committed it.

        Args:
            shard: Its number.

        Returns:
            What writes and commits it, and says what was done; it raises PipeError if a vector is
            unsound or cannot be written. The shard's mark stands until then.

        Raises:
            PipeError: The texts are not those of the corpus's manifest.
        """
        store, corpus = self._store, self._corpus
        if store.commit(self._teacher, shard) is not None:
            return done(ShardDone(0, 0.0))
        begun = time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(mark(store.directory, self._teacher, shard, self._session))
            texts, roles = corpus.checked_texts(shard)
            encoding = time.monotonic()
            vectors = self._encode(texts, roles)
            encoded, rows = time.monotonic(), len(texts)
            marked = stack.pop_all()

        def write() -> ShardDone:
            writing = time.monotonic()
            with marked:
                store.write_shard(
                    self._teacher,
                    shard,
                    vectors,
                    corpus.text_digest(shard),
                    encoded - encoding,
                    self._engine,
                )
            return ShardDone(rows, encoded - begun + time.monotonic() - writing)

        return Begun(write, marked.close)
