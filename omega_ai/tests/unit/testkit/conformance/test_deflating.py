"""The answer to an offer of compression."""

from __future__ import annotations

import pytest

from omega_ai.testkit.conformance.deflating import NAME, Packer, WrongAnswer, read_answer
from omega_ai.testkit.conformance.frames import RSV1, TEXT, Agreed, FrameReader, Message, frame
from omega_ai.testkit.conformance.offers import INVALID_OFFERS, VALID_OFFERS


def test_no_answer_declines() -> None:
    """Which a server may do with every offer."""
    assert read_answer([NAME], None) is None


@pytest.mark.parametrize(
    ("offer", "answer", "agreed"),
    [
        (NAME, NAME, Agreed()),
        (NAME, f"{NAME}; server_no_context_takeover", Agreed(server_takeover=False)),
        (NAME, f"{NAME}; client_no_context_takeover", Agreed(client_takeover=False)),
        (NAME, f"{NAME}; server_max_window_bits=9", Agreed(server_bits=9)),
        (f"{NAME}; server_max_window_bits=10", f"{NAME}; server_max_window_bits=9", Agreed(server_bits=9)),
        (f"{NAME}; client_max_window_bits", f"{NAME}; client_max_window_bits=8", Agreed(client_bits=8)),
        (f"{NAME}; client_max_window_bits", NAME, Agreed()),
        (f"{NAME}; unknown, {NAME}", NAME, Agreed()),
    ],
)
def test_right_answers_are_read(offer: str, answer: str, agreed: Agreed) -> None:
    """With what they mean."""
    assert read_answer([offer], answer) == agreed


@pytest.mark.parametrize(
    ("offer", "answer", "word"),
    [
        (NAME, "", "empty"),
        (NAME, "=;", "malformed"),
        (NAME, "x-other", "x-other"),
        (NAME, f"{NAME}, {NAME}", "chose"),
        (NAME, f"{NAME}; unknown", "unknown"),
        (NAME, f"{NAME}; server_no_context_takeover=1", "not allowed"),
        (NAME, f"{NAME}; server_max_window_bits", "not allowed"),
        (NAME, f"{NAME}; server_max_window_bits=16", "not allowed"),
        (NAME, f"{NAME}; server_max_window_bits=9; server_max_window_bits=9", "repeats"),
        (NAME, f"{NAME}; client_max_window_bits=10", "not offered"),
        (f"{NAME}; client_max_window_bits=9", f"{NAME}; client_max_window_bits=10", "above"),
        (f"{NAME}; server_max_window_bits=9", NAME, "server_max_window_bits of 9"),
        (f"{NAME}; server_max_window_bits=9", f"{NAME}; server_max_window_bits=10", "of 9 or less"),
        (f"{NAME}; server_no_context_takeover", NAME, "server_no_context_takeover"),
    ],
)
def test_wrong_answers_are_refused_in_words(offer: str, answer: str, word: str) -> None:
    """And the sentence names what is wrong."""
    with pytest.raises(WrongAnswer, match=word):
        read_answer([offer], answer)


@pytest.mark.parametrize("offer", [line for _, line in INVALID_OFFERS])
def test_no_answer_is_right_for_an_invalid_offer(offer: str) -> None:
    """It must be declined."""
    with pytest.raises(WrongAnswer):
        read_answer([offer], NAME)
    assert read_answer([offer], None) is None


@pytest.mark.parametrize("offers", [lines for name, lines in VALID_OFFERS if "invalid" not in name])
def test_the_valid_offers_can_be_accepted(offers: tuple[str, ...]) -> None:
    """By the answer that grants everything."""
    full = f"{NAME}; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8" + (
        "; client_max_window_bits=8" if "client_max_window_bits" in offers[0] else ""
    )
    assert read_answer(offers, full) is not None


@pytest.mark.parametrize("agreed", [Agreed(), Agreed(client_takeover=False), Agreed(client_bits=9)])
def test_what_is_packed_is_what_is_read(agreed: Agreed) -> None:
    """Over many messages, as a server reads them."""
    packer = Packer(agreed)
    reader = FrameReader()
    reader.agreed = Agreed(server_takeover=agreed.client_takeover, server_bits=agreed.client_bits)
    texts = [b"", b"x", b"the same again " * 100, b"the same again " * 100]
    for text in texts:
        reader.feed(frame(TEXT, packer.pack(text), rsv=RSV1, mask=None))
    assert reader.messages == [Message(TEXT, text, compressed=True) for text in texts]
    assert not reader.violations
