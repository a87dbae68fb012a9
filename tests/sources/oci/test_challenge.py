"""The challenges of WWW-Authenticate headers, and the scope of a token."""

from __future__ import annotations

import time

import pytest

from wagi_gateway.sources.oci.challenge import choose_scopes, read_challenges


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", {}),
        ('Basic realm="x"', {"basic": {"realm": "x"}}),
        ('bearer realm="https://t/",service=s', {"bearer": {"realm": "https://t/", "service": "s"}}),
        (
            'Basic realm="a, b=c", Bearer realm="https://t/", scope="repository:x:pull,push"',
            {"basic": {"realm": "a, b=c"}, "bearer": {"realm": "https://t/", "scope": "repository:x:pull,push"}},
        ),
        ("Bearer scope=repository:x:pull , Basic", {"bearer": {"scope": "repository:x:pull"}, "basic": {}}),
        (r'Bearer realm="a\"b"', {"bearer": {"realm": 'a"b'}}),
        ('Bearer realm="a", Bearer realm="b"', {"bearer": {"realm": "a"}}),
        ("Negotiate abc==, 1, -", {"negotiate": {"abc": "="}}),
    ],
)
def test_challenges(header: str, challenges: dict[str, dict[str, str]]) -> None:
    assert read_challenges(header) == challenges


@pytest.mark.parametrize("piece", ["1", "-", "a", "a=", "a =", "a ", " ", '"', 'a="', 'a="\\', "a=\\", 'a= "b" '])
def test_a_challenge_costs_time_in_proportion(piece: str) -> None:
    def cost(size: int) -> float:
        """Processor time for a text of about `size` bytes, with and without quotes."""
        start = time.thread_time()
        read_challenges(f"x {piece * (size // len(piece))}")
        read_challenges(f'x="{piece * (size // len(piece))}')
        return time.thread_time() - start

    # Ten times the size may cost thirty times the time; a quadratic cost is a hundred times.
    assert min(cost(200_000) for _ in range(2)) < 30 * max(cost(20_000) for _ in range(3)) + 0.005


FALLBACK = "repository:team/hello:pull"


@pytest.mark.parametrize(
    ("stated", "scopes"),
    [
        ("", [FALLBACK]),
        ("::", [FALLBACK]),
        (" :: ", [FALLBACK]),
        ("aws", [FALLBACK]),
        ("*", [FALLBACK]),
        ("repository", [FALLBACK]),
        ("repository:team/hello", [FALLBACK]),
        ("repository:team/hello:", [FALLBACK]),
        ("repository::pull", [FALLBACK]),
        (":team/hello:pull", [FALLBACK]),
        ("repository:*:pull", [FALLBACK]),
        ("repository:team//:pull", [FALLBACK]),
        ("repository:team/hello:pull,", [FALLBACK]),
        ("repository:<name>:pull", [FALLBACK]),
        ("repository:team/hello:pull,push", ["repository:team/hello:pull,push"]),
        ("repository:team/hello:*", ["repository:team/hello:*"]),
        ("repository(plugin):team/hello:pull", ["repository(plugin):team/hello:pull"]),
        ("repository:other/name:pull", ["repository:other/name:pull"]),
        ("repository:r.example:5000/team/hello:pull", ["repository:r.example:5000/team/hello:pull"]),
        (":: repository:team/hello:pull,push", ["repository:team/hello:pull,push"]),
        ("repository:other:pull repository:team/hello:push", ["repository:team/hello:push"]),
        ("repository:team/hello:pull repository:team/hello:push", [FALLBACK, "repository:team/hello:push"]),
        ("repository:other:pull repository:another:pull", [FALLBACK]),
        ("registry:catalog:* repository:other:pull", [FALLBACK]),
    ],
)
def test_the_scopes_of_a_token(stated: str, scopes: list[str]) -> None:
    assert choose_scopes(stated, "team/hello", "pull") == scopes


@pytest.mark.parametrize("piece", ["a", "a:", "a/", "a.", "(", ":", " ", "1:"])
def test_a_scope_costs_time_in_proportion(piece: str) -> None:
    def cost(size: int) -> float:
        start = time.thread_time()
        choose_scopes(f"repository:{piece * (size // len(piece))}", "team/hello", "pull")
        return time.thread_time() - start

    assert min(cost(400_000) for _ in range(2)) < 30 * max(cost(40_000) for _ in range(3)) + 0.01
