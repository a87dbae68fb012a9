"""Answers of reviews that are kept."""

from __future__ import annotations

import asyncio

import pytest

from wagi_gateway.node.server import review_cache
from wagi_gateway.node.server.review_cache import ReviewCache


class Reviews:
    """Answers with the number of the review."""

    def __init__(self) -> None:
        self.count = 0
        self.under_way = 0
        self.most = 0

    async def __call__(self) -> int:
        self.count += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return self.count


def test_an_answer_holds_for_its_lifetime() -> None:
    async def story() -> list[int]:
        now, review = [0.0], Reviews()
        cache = ReviewCache[int](lambda answer: answer * 10.0, lambda: now[0])
        answers = []
        for now[0] in (0.0, 9.9, 10.0, 29.9, 30.0):
            answers.append(await cache.get("key", review))
        return answers

    assert asyncio.run(story()) == [1, 1, 2, 2, 3]


def test_what_is_asked_at_once_is_reviewed_once() -> None:
    async def story() -> tuple[set[int], int]:
        review = Reviews()
        cache = ReviewCache[int](lambda _: 60.0)
        return set(await asyncio.gather(*(cache.get("key", review) for _ in range(20)))), review.count

    answers, count = asyncio.run(story())
    assert len(answers) == count == 1


def test_reviews_and_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_cache, "MAX_ANSWERS", 3)

    async def story() -> tuple[int, int]:
        review = Reviews()
        cache = ReviewCache[int](lambda _: 60.0)
        await asyncio.gather(*(cache.get(key, review) for key in range(50)))
        await asyncio.gather(*(cache.get(key, review) for key in (47, 48, 49)))
        assert review.count == 50
        await cache.get(46, review)
        return review.count, review.most

    assert asyncio.run(story()) == (51, 8)


def test_an_error_is_not_kept() -> None:
    async def fail() -> int:
        raise OSError("away")

    async def story() -> int:
        cache = ReviewCache[int](lambda _: 60.0)
        with pytest.raises(OSError, match="away"):
            await cache.get("key", fail)
        return await cache.get("key", Reviews())

    assert asyncio.run(story()) == 1
