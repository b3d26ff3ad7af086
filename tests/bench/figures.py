"""From the figures of several rounds to what is reported: order statistics, which assume nothing about the noise."""

import dataclasses
import math
import statistics


@dataclasses.dataclass(frozen=True)
class Figure:
    """A median with the interval that holds the true one with 95 % confidence."""

    median: float
    low: float
    high: float

    def __format__(self, spec):
        return f"{self.median:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def interval_rank(count: int) -> int:
    """Which of `count` sorted values, from either end and from 0, bounds the median with at least 95 % confidence.

    The number of values below the true median is binomial(count, 1/2), whatever they are distributed like. Below six
    values no pair of them is enough; then the extremes are the best there is.
    """
    rank = 0
    outside = 2 * 0.5**count  # probability that the true median lies beyond the extremes
    while True:
        outside += 2 * math.comb(count, rank + 1) * 0.5**count
        if outside > 0.05 or rank + 1 > (count - 1) // 2:
            return rank
        rank += 1


def figure(values) -> Figure:
    values = sorted(values)
    rank = interval_rank(len(values))
    return Figure(statistics.median(values), values[rank], values[-1 - rank])


def ratio(values, others) -> Figure:
    """Of what was measured in the same round: drift between rounds cancels."""
    return figure([value / other for value, other in zip(values, others, strict=True)])


def difference(values, others) -> Figure:
    return figure([value - other for value, other in zip(values, others, strict=True)])


def verdict(measured: Figure, bar: float) -> str:
    """A bar is missed only when the interval lies wholly beyond it, and met for sure when wholly within."""
    if measured.low > bar:
        return "missed"
    return "met" if measured.high <= bar else "not told apart"
