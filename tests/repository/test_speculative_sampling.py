"""What is uploaded of a distribution, and what its truncation costs."""

import numpy as np
import pytest

from multispin_env.speculative.sampling import Draft, Payload, Proposal, outcome_probability, verify


def distributions(count, vocabulary, seed=0):
    logits = 2.0 * np.random.default_rng(seed).standard_normal((count, vocabulary))
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def test_the_most_probable_entries_are_kept_in_proportion():
    probabilities = distributions(50, 200)
    proposal = Payload(retained_entries=10, probability_bits=16).propose(probabilities)
    assert proposal.tokens.shape == proposal.weights.shape == (50, 10)
    assert proposal.weights.min() >= 0
    assert np.all(proposal.weights.max(axis=-1) == 2**16 - 1)
    kept = np.take_along_axis(probabilities, proposal.tokens, axis=-1)
    np.testing.assert_allclose(kept.sum(axis=-1), np.sort(probabilities)[:, -10:].sum(axis=-1))
    np.testing.assert_allclose(proposal.probabilities(), kept / kept.sum(axis=-1, keepdims=True), atol=2e-5)
    assert np.all(proposal.probability(proposal.tokens[:, 3]) == proposal.probabilities()[:, 3])


def test_a_small_vocabulary_is_kept_whole():
    proposal = Payload(retained_entries=1024).propose(distributions(3, 17))
    assert np.array_equal(np.sort(proposal.tokens), np.broadcast_to(np.arange(17), (3, 17)))


def test_a_device_draws_from_the_integers_that_it_uploads():
    proposal = Proposal(np.array([7, 2, 5, 9]), np.array([1, 0, 4, 3]))
    generator = np.random.default_rng(0)
    drawn = [proposal.draw(generator) for _ in range(8000)]
    assert set(drawn) == {7, 5, 9}
    for token in (7, 5, 9):
        share = proposal.probability(token)
        assert abs(drawn.count(token) / 8000 - share) < 4.0 * np.sqrt(share * (1.0 - share) / 8000)


def test_acceptance_is_what_verification_accepts():
    target, draft = distributions(2, 12)
    proposal = Payload(retained_entries=6, probability_bits=4).propose(draft)
    generator = np.random.default_rng(1)
    verdicts = [
        verify(Draft([token], [proposal]), np.stack([target, target]), generator)
        for token in (proposal.draw(generator) for _ in range(6000))
    ]
    share = float(proposal.acceptance(target))
    assert abs(np.mean([verdict.accepted for verdict in verdicts]) - share) < 4.0 * np.sqrt(share * (1 - share) / 6000)


def test_a_tokens_outcome_averages_to_the_acceptance():
    target, draft = distributions(2, 40)
    proposal = Payload(retained_entries=8).propose(draft)
    outcome = outcome_probability(proposal.probability(np.arange(40)[:, np.newaxis]).ravel(), target)
    assert np.sum(target * outcome) == pytest.approx(float(proposal.acceptance(target)), abs=1e-12)


def test_truncation_and_coarse_weights_cost_acceptance():
    """Of a draft near its target; losslessness they do not touch, as the decoding tests show with a coarse payload."""
    target = distributions(200, 500)
    draft = 0.8 * target + 0.2 * distributions(200, 500, seed=1)

    def acceptance(entries, bits):
        return np.mean(Payload(entries, bits).propose(draft).acceptance(target))

    by_entries = [acceptance(entries, 16) for entries in (1, 4, 16, 64, 500)]
    assert by_entries == sorted(by_entries)
    assert by_entries[0] < 0.4 * by_entries[-1]
    assert acceptance(500, 2) < acceptance(500, 4) < acceptance(500, 16) == pytest.approx(acceptance(500, 32), abs=1e-4)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("retained_entries", 0, "at least 1"),
        ("probability_bits", 0, r"\[1, 32\]"),
        ("probability_bits", 33, r"\[1, 32\]"),
    ],
)
def test_a_payload_out_of_range_is_refused_by_name(field, value, allowed):
    with pytest.raises(ValueError, match=rf"{field} must be an integer .*{allowed}, got {value}"):
        Payload(**{field: value})


def test_a_rejection_that_is_all_rounding_still_gives_a_token_of_the_targets():
    class Last:
        def random(self):
            return 1.0 - 2.0**-53

    target = np.array([[0.0, 1.0 - 2.0**-50, 0.0], [0.0, 1.0, 0.0]])
    draft = Draft([1], [Proposal(np.array([1]), np.array([1]))])
    assert verify(draft, target, Last()).token == 1
