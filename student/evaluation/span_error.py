"""How far a figure of held-out spans may be from that of all texts, so that nobody reads noise.

Shapes: N spans, S spans whose pairs are compared, P = S(S-1)/2 pairs.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Influence:
    """How much each span, or each pair of spans, moves a figure.

    Attributes:
        values: (N,) or, of the pairs i < j row by row, (P,); their mean is 0.
        spans: N or S.
        of_pairs: Whether the values are those of pairs.
    """

    values: npt.NDArray[np.float64]
    spans: int
    of_pairs: bool

    def less(self, other: "Influence", times: float = 1.0) -> "Influence":
        """The influence on this figure less that on another one of the same spans.

        Args:
            other: Of the same spans or pairs.
            times: A factor of the other.
        """
        return replace(self, values=self.values - times * other.values)

    def error(self) -> float:
        """The figure's standard error.

        Pairs that share a span are not independent: each two of them count as well (the variance
        of Fafchamps and Gubert 2007 for pairs).
        """
        own = float(self.values @ self.values)
        if self.of_pairs:
            matrix_SS = np.zeros((self.spans, self.spans))
            matrix_SS[~np.tri(self.spans, dtype=np.bool_)] = self.values
            sums_S = matrix_SS.sum(axis=0) + matrix_SS.sum(axis=1)
            # The square of each pair stands in the sums of both its spans. What is left is the
            # covariance of those that share one, which is never below 0.
            own += max(0.0, float(sums_S @ sums_S) - 2 * own)
        # As of any variance: the mean of the values is not known, but found from them.
        known = self.spans / (self.spans - 1)
        return float(np.sqrt(own * known)) / len(self.values)
