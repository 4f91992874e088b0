"""The mixture: exact totals, quotas rounded by at most one, never more than there is."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import PipeError
from data_prep.mixture import mixture

SOURCES = st.lists(
    st.tuples(st.integers(1, 1000).map(lambda n: n / 100), st.integers(1, 5000)),
    min_size=1,
    max_size=6,
)


@given(SOURCES)
def test_as_many_as_the_scarcest_source_allows(sources: list[tuple[float, int]]) -> None:
    weights = {str(i): weight for i, (weight, _) in enumerate(sources)}
    available = {str(i): number for i, (_, number) in enumerate(sources)}
    counts = mixture(weights, available)
    assert all(0 <= counts[name] <= available[name] for name in weights)
    # At least one source is used up but for the spans that rounding leaves.
    whole = sum(Fraction(str(weight)) for weight in weights.values())
    total = sum(counts.values())
    assert any((total + 1) * Fraction(str(weights[n])) / whole > available[n] for n in weights)


@given(SOURCES, st.integers(1, 3000))
def test_a_wanted_total_is_met_exactly(sources: list[tuple[float, int]], total: int) -> None:
    weights = {str(i): weight for i, (weight, _) in enumerate(sources)}
    counts = mixture(weights, dict.fromkeys(weights, 10**6), total)
    assert sum(counts.values()) == total
    whole = sum(Fraction(str(weight)) for weight in weights.values())
    assert all(abs(counts[n] - total * Fraction(str(weights[n])) / whole) < 1 for n in weights)


def test_weights_count_as_written_in_decimal() -> None:
    # In binary 0.8 / (0.8 + 0.2) * 10 is not 8.
    available = {"web": 8, "questions": 2}
    assert mixture({"web": 0.8, "questions": 0.2}, available) == available


def test_too_few_spans_names_the_source_and_the_most_there_can_be() -> None:
    weights, available = {"web": 0.8, "questions": 0.2}, {"web": 10_000, "questions": 100}
    with pytest.raises(PipeError, match=r"'questions' has 100 spans .* is 200; set texts to 500"):
        mixture(weights, available, 1000)
    assert sum(mixture(weights, available, 500).values()) == 500


def test_a_source_without_spans() -> None:
    with pytest.raises(PipeError, match="'questions' has no text"):
        mixture({"web": 1, "questions": 1}, {"web": 10, "questions": 0})
