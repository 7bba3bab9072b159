"""The memory of training mentions, and the loss against it: naive sums and finite differences."""

import numpy as np
import pytest

from spacy_metric_el.training.memory import Contrast, MentionMemory, contrast_loss

WIDTH = 5


def units(rng, n):
    vectors = rng.standard_normal((n, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def naive_prototype(documents, own, entity):
    rows = [
        vector
        for document, (entities, vectors) in documents.items()
        if document != own
        for found, vector in zip(entities, vectors, strict=True)
        if found == entity
    ]
    if not rows:
        return np.zeros(WIDTH), False
    total = np.sum(rows, axis=0)
    return total / np.linalg.norm(total), True


def test_prototypes_leave_the_own_document_out():
    rng = np.random.default_rng(0)
    memory, documents = MentionMemory(WIDTH), {}
    # Every document comes twice: the second time replaces the first.
    for document in [*range(40), *range(40)]:
        entities = rng.integers(0, 15, size=rng.integers(0, 6)) * 1000
        vectors = units(rng, len(entities))
        memory.put(document, entities, vectors)
        documents[document] = (entities, vectors)
    asked = np.arange(17) * 1000
    for document in [0, 7, 39, 99]:
        prototypes, alive = memory.prototypes(document, asked)
        for row, entity in enumerate(asked):
            expected, exists = naive_prototype(documents, document, entity)
            assert alive[row] == exists
            np.testing.assert_allclose(prototypes[row], expected, atol=1e-4)


def test_the_memory_grows_beyond_its_first_room():
    memory = MentionMemory(WIDTH)
    entities = np.arange(3000)
    vectors = units(np.random.default_rng(0), 3000)
    memory.put(1, entities, vectors)
    prototypes, alive = memory.prototypes(2, entities)
    assert alive.all()
    np.testing.assert_allclose(prototypes, vectors, atol=1e-5)
    assert not memory.prototypes(1, entities)[1].any()


@pytest.fixture
def contrast():
    rng = np.random.default_rng(1)
    lengths = [3, 0, 4, 1, 2]
    offsets = np.cumsum([0, *lengths])
    # The fourth has nothing wrong, the fifth nothing right: both teach nothing.
    is_right = np.array([1, 0, 0, 1, 0, 1, 0, 1, 0, 0], dtype=bool)
    return Contrast(offsets, units(rng, 10), is_right)


def naive_loss(mentions, contrast, scale):
    losses = []
    for mention, start, end in zip(mentions, contrast.offsets, contrast.offsets[1:], strict=False):
        right = contrast.is_right[start:end]
        if right.any() and not right.all():
            powers = np.exp(scale * contrast.prototypes[start:end].astype(float) @ mention)
            losses.append(-np.log(powers[right].sum() / powers.sum()))
    return np.mean(losses)


def test_the_loss_is_that_of_a_loop(contrast):
    mentions = units(np.random.default_rng(2), 5)
    loss, _ = contrast_loss(mentions, contrast, scale=3.0)
    assert loss == pytest.approx(naive_loss(mentions, contrast, 3.0), rel=1e-5)


def test_the_gradient_is_that_of_finite_differences(contrast):
    mentions = units(np.random.default_rng(3), 5).astype(np.float64)
    _, gradient = contrast_loss(mentions.astype(np.float32), contrast, scale=3.0)
    for place in np.ndindex(mentions.shape):
        step = np.zeros_like(mentions)
        step[place] = 1e-5
        above, below = (naive_loss(mentions + sign * step, contrast, 3.0) for sign in (1.0, -1.0))
        assert gradient[place] == pytest.approx((above - below) / 2e-5, abs=1e-4)


def test_nothing_to_tell_apart_is_no_loss():
    mentions = units(np.random.default_rng(4), 2)
    nothing = Contrast(np.zeros(3, dtype=int), np.zeros((0, WIDTH), np.float32), np.zeros(0, bool))
    loss, gradient = contrast_loss(mentions, nothing, scale=3.0)
    assert loss == 0.0
    assert not gradient.any()
