"""Similar cases of other groups, their agreement, and leave-one-out among the training images."""

from __future__ import annotations

import numpy as np
import pytest

from lesionlab.explanation import neighbours
from lesionlab.explanation.neighbours import agreement, leave_one_out, nearest


def test_neighbours_are_never_of_the_same_group() -> None:
    bank = np.array([[1, 0], [0.99, 0.1], [0, 1]], np.float32)
    groups = np.array(["patient:p", "patient:q", "patient:r"], object)
    rows, cosine = nearest(bank[:1], groups[:1], bank, groups, k=3)
    assert rows[0].tolist() == [1, 2, -1]
    assert cosine[0, 0] == pytest.approx(0.99 / np.hypot(0.99, 0.1), abs=1e-5)
    assert np.isnan(cosine[0, 2])


def test_neighbours_match_brute_force_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from lesionlab.explanation import neighbours

    monkeypatch.setattr(neighbours, "BLOCK", 7)
    draw = np.random.default_rng(0)
    queries, bank = (draw.normal(size=(n, 8)).astype(np.float32) for n in (20, 50))
    names = [np.array([f"{s}{k}" for k in range(n)], object) for s, n in (("a", 20), ("b", 50))]
    rows, _ = nearest(queries, names[0], bank, names[1], k=4)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (queries, bank)]
    assert (rows == np.argsort(-(unit[0] @ unit[1].T), axis=1)[:, :4]).all()


def test_agreement_by_hand() -> None:
    rows = np.array([[0, 1], [2, -1]])
    labels, bank = np.array([0, 1]), np.array([0, 1, 1])
    groups = np.array(["g", "h"], object)
    found = agreement(rows, labels, bank, groups, ("a", "b"))
    assert found.share.value == pytest.approx((0.5 + 1) / 2)
    assert found.by_class["a"].value == pytest.approx(0.5)
    assert found.balanced.value == pytest.approx(0.75)
    assert found.chance == pytest.approx(0.5)
    assert found.chance_balanced == pytest.approx(0.5)


def bank(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings that lean to their class, in groups of two images, with the groups' labels."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(draw.integers(0, 3, n // 2), 2)
    centre = np.repeat(np.eye(3)[labels[::2]] + 0.4 * draw.normal(size=(n // 2, 3)), 2, axis=0)
    embedded = centre + 0.01 * draw.normal(size=(n, 3))
    return embedded.astype(np.float32), np.repeat(np.arange(n // 2), 2).astype(object), labels


def test_leave_one_out_leaves_out_the_whole_group() -> None:
    embedded, groups, labels = bank(120)
    found = leave_one_out(embedded, groups, labels, ("a", "b", "c"), k=4)
    unit = embedded / np.linalg.norm(embedded, axis=1, keepdims=True)
    shares, chance = [], []
    for i in range(120):
        others = np.flatnonzero(groups != groups[i])
        near = others[np.argsort(-(unit[others] @ unit[i]))[:4]]
        shares.append((labels[near] == labels[i]).mean())
        chance.append((labels[others] == labels[i]).mean())
    by_class = [np.mean(np.array(shares)[labels == k]) for k in range(3)]
    assert (found.k, found.n) == (4, 120)
    assert found.share.value == pytest.approx(np.mean(shares))
    assert found.balanced.value == pytest.approx(np.mean(by_class))
    assert found.chance == pytest.approx(np.mean(chance))
    balanced = np.mean([np.mean(np.array(chance)[labels == k]) for k in range(3)])
    assert found.chance_balanced == pytest.approx(balanced)
    for m in (found.share, found.balanced):
        assert m.low is not None
        assert m.high is not None
        assert found.chance < m.low < m.value < m.high < 1
    with_twins = agreement(
        nearest(embedded, np.arange(120).astype(object), embedded, groups, 4)[0],
        labels, labels, groups, ("a", "b", "c"),
    )  # fmt: skip
    assert with_twins.share.value > found.share.value + 0.05  # a second picture is no second case


def test_intervals_of_agreement_count_groups_not_images() -> None:
    embedded, groups, labels = bank(120)
    alone = leave_one_out(embedded, np.arange(120).astype(object), labels, ("a", "b", "c"), k=4)
    grouped = leave_one_out(embedded, groups, labels, ("a", "b", "c"), k=4)
    for m in (grouped.share, grouped.balanced):
        assert "60 groups" in m.method
    assert grouped.share.high - grouped.share.low > alone.share.high - alone.share.low


def test_chance_is_that_of_other_groups() -> None:
    """Three images of label 0 in two groups, one of label 1: its like is nowhere else."""
    groups, labels = np.array(["p", "p", "q", "r"], object), np.array([0, 0, 0, 1])
    embedded = np.eye(4, dtype=np.float32)
    found = leave_one_out(embedded, groups, labels, ("a", "b"), k=3)
    assert found.chance == pytest.approx(np.mean([1 / 2, 1 / 2, 2 / 3, 0]))
    # With all others asked, the agreement is the chance.
    assert found.share.value == pytest.approx(found.chance)
    lone = leave_one_out(embedded, np.array(["p"] * 4, object), labels, ("a", "b"))
    assert lone.share.value is None  # no other group at all
    assert np.isnan(lone.chance)


def test_leave_one_out_asks_a_bounded_number_and_all_may_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedded, groups, labels = bank(120)
    monkeypatch.setattr(neighbours, "MOST", 50)
    sizes: list[tuple[int, int]] = []
    ask = neighbours.nearest

    def seen(queries, own, known, theirs, k):
        sizes.append((len(queries), len(known)))
        return ask(queries, own, known, theirs, k)

    monkeypatch.setattr(neighbours, "nearest", seen)
    found = leave_one_out(embedded, groups, labels, ("a", "b", "c"))
    assert sizes == [(50, 120)]
    assert found.n == found.share.n == 50
    other = leave_one_out(embedded, groups, labels, ("a", "b", "c"), seed=1)
    assert other.share.value != found.share.value
