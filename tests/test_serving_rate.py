"""The token bucket: what it lets through, what it says, what it remembers."""

from __future__ import annotations

import random

import pytest

from churnlib.errors import ConfigError
from churnlib.serving.http import rate as module
from churnlib.serving.http.rate import Rate
from churnlib.serving.problems import RequestError


class Clock:
    def __init__(self) -> None:
        self.seconds = 50.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def passes(rate: Rate, name: str = "crm") -> bool:
    try:
        rate.check(name)
    except RequestError as error:
        return (error.problem.status, error.problem.code) != (429, "rate_limited")
    return True


def test_a_burst_passes_and_then_the_rate(clock):
    rate = Rate(2.0, burst=5, clock=clock)
    assert [passes(rate) for _ in range(7)] == [True] * 5 + [False] * 2
    clock.seconds += 1.0
    assert [passes(rate) for _ in range(3)] == [True, True, False]
    clock.seconds += 1000.0
    assert [passes(rate) for _ in range(6)] == [True] * 5 + [False]


def test_each_name_has_its_own_bucket(clock):
    rate = Rate(1.0, clock=clock)
    assert [passes(rate, name) for name in "aabb"] == [True, False, True, False]


@pytest.mark.parametrize(("per_second", "wait"), [(100.0, "1"), (0.1, "10"), (1 / 61, "61")])
def test_the_pause_is_told_and_enough(clock, per_second, wait):
    rate = Rate(per_second, burst=1, clock=clock)
    rate.check("crm")
    with pytest.raises(RequestError) as caught:
        rate.check("crm")
    assert dict(caught.value.problem.headers) == {"Retry-After": wait}
    clock.seconds += float(wait)
    assert passes(rate)


def test_it_is_a_bucket_of_tokens(clock):
    """Against the bucket as one would draw it, over 20,000 requests at random moments."""
    per_second, burst, random_ = 3.7, 6.0, random.Random(0)
    rate, tokens, last = Rate(per_second, burst, clock=clock), burst, clock.seconds
    for _ in range(20_000):
        clock.seconds += random_.expovariate(5.0)
        tokens, last = min(burst, tokens + (clock.seconds - last) * per_second), clock.seconds
        assert passes(rate) is (tokens >= 1.0) or abs(tokens - 1.0) < 1e-6
        tokens -= tokens >= 1.0


def test_what_is_remembered_is_bounded(clock, monkeypatch):
    monkeypatch.setattr(module, "_MOST_NAMES", 100)
    rate = Rate(1.0, clock=clock)
    for i in range(1000):
        clock.seconds += 0.001
        rate.check(f"n{i}")
        assert len(rate._full_at) <= 100
    assert not passes(rate, "n999")  # who asked last is known still
    clock.seconds += 10.0
    for i in range(200):
        rate.check(f"m{i}")
    assert not any(name.startswith("n") for name in rate._full_at)


@pytest.mark.parametrize(
    ("numbers", "said"), [((0.0,), "rate_limit must be above 0"), ((1.0, 0.5), "burst must be at")]
)
def test_wrong_numbers_are_refused(numbers, said):
    with pytest.raises(ConfigError, match=said):
        Rate(*numbers)
