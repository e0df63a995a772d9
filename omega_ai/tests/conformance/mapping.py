"""Which of our cases look at what a case of Autobahn looks at, and why both may say different things."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Final

MAPPING: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("1.1.*", ("framing-text-*", "framing-pieces-*")),
    ("1.2.*", ("framing-binary-*", "framing-burst")),
    ("2.5", ("ping-ping-126",)),
    ("2.7", ("ping-pong-*",)),
    ("2.8", ("ping-pong-*",)),
    ("2.9", ("ping-pong-*",)),
    ("2.*", ("ping-empty", "ping-text", "ping-binary", "ping-12[45]", "ping-in-pieces", "ping-ten*")),
    *((f"3.{bits}", (f"rsv-{bits:03b}-*",)) for bits in range(1, 8)),
    *((f"4.1.{n}", (f"opcode-{n + 2}-*",)) for n in range(1, 6)),
    *((f"4.2.{n}", (f"opcode-{n + 10}-*",)) for n in range(1, 6)),
    ("5.1", ("ping-ping-fragmented-*",)),
    ("5.2", ("ping-pong-fragmented-*",)),
    ("5.9", ("fragment-lone-*", "fragment-continuation-after-message*")),
    ("5.1[0-4]", ("fragment-lone-*", "fragment-continuation-after-message*")),
    ("5.15", ("fragment-continuation-after-end*",)),
    ("5.16", ("fragment-lone-*", "fragment-text-inside-*")),
    ("5.17", ("fragment-lone-*", "fragment-text-inside-*")),
    ("5.18", ("fragment-text-inside-text*",)),
    ("5.*", ("fragment-text-[37]*", "fragment-binary-[37]*", "fragment-pieces", "fragment-pong-at-once",
             "fragment-empty*", "fragment-several")),
    ("6.1.*", ("framing-text-0", "fragment-empty-*", "fragment-all-empty")),
    ("6.2.*", ("utf8-valid-*",)),
    ("6.4.[12]", ("utf8-early-*-in-fragments",)),
    ("6.4.[34]", ("utf8-early-*-in-frame",)),
    ("6.3.*", ("utf8-invalid-greek-*",)),
    ("6.[579].*", ("utf8-valid-*",)),
    ("6.6.*", ("utf8-valid-*", "utf8-invalid-cut-*")),
    ("6.8.*", ("utf8-invalid-five-*", "utf8-invalid-six-*")),
    ("6.10.*", ("utf8-invalid-above-*", "utf8-invalid-five-*", "utf8-invalid-six-*")),
    ("6.11.5", ("utf8-invalid-above-10ffff*",)),
    ("6.11.*", ("utf8-valid-*",)),
    ("6.12.*", ("utf8-invalid-lone-continuation*", "utf8-invalid-all-continuations*")),
    ("6.13.*", ("utf8-invalid-lone-lead-*", "utf8-invalid-all-leads-*")),
    ("6.14.*", ("utf8-invalid-cut-*", "utf8-invalid-lone-lead-*")),
    ("6.15.*", ("utf8-invalid-cut-all*",)),
    ("6.16.*", ("utf8-invalid-f[ef]*",)),
    ("6.17.*", ("utf8-invalid-overlong-slash-*",)),
    ("6.18.*", ("utf8-invalid-overlong-most-*",)),
    ("6.19.*", ("utf8-invalid-overlong-nul-*",)),
    ("6.20.*", ("utf8-invalid-surrogate-*",)),
    ("6.21.*", ("utf8-invalid-surrogates-*",)),
    ("6.2[23].*", ("utf8-valid-*",)),
    ("7.1.1", ("close-code-1000", "framing-text-*")),
    ("7.1.[234]", ("close-then-*",)),
    ("7.1.5", ("close-inside-a-message",)),
    ("7.1.6", ("close-after-large",)),
    ("7.3.1", ("close-empty",)),
    ("7.3.2", ("close-one-byte",)),
    ("7.3.6", ("ping-close-126",)),
    ("7.3.*", ("close-reason-*", "close-code-1000")),
    ("7.5.1", ("close-bad-reason-*",)),
    ("7.7.*", ("close-code-*",)),
    ("7.9.*", ("close-bad-code-*",)),
    ("7.13.*", ("close-unruled-*",)),
    ("9.1.*", ("limit-text-*k",)),
    ("9.2.*", ("limit-binary-*k",)),
    ("9.3.*", ("limit-text-*-by-*",)),
    ("9.4.*", ("limit-binary-*-by-*",)),
    ("9.5.*", ("limit-text-*-segments-*",)),
    ("9.6.*", ("limit-binary-*-segments-*",)),
    ("9.7.*", ("limit-text-many-*",)),
    ("9.8.*", ("limit-binary-many-*",)),
    ("10.*", ("limit-text-64k-by-1300",)),
    ("12.*", ("deflate-plain-*", "deflate-takeover")),
    ("13.*", ("deflate-*", "offer-*")),
)  # fmt: skip
"""Autobahn's case -> ours, without ``conformance.``; the first pattern that fits counts."""

REASONS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "9.[34].*",
        "FAILED/*",
        "a limit on the number of fragments, met with close 1008 or 1009: limits are allowed (RFC 6455 "
        "section 10.4), so ours says it in a note",
    ),
    (
        "*",
        "OK/UNCLEAN",
        "what was exchanged is right, and only the end of TCP came later than Autobahn waits for it (a "
        "second), as happens on a machine under load; ours waits five",
    ),
    ("*", "OK/FAILED BY CLIENT", "the same: Autobahn ended TCP itself when its second was over"),
)
"""Autobahn's case, its verdict (behaviour/close) and why ours may say less."""


def ours_for(case: str) -> tuple[str, ...]:
    """Patterns of our ids for a case of Autobahn."""
    return next((patterns for pattern, patterns in MAPPING if fnmatch(case, pattern)), ())


def reason_for(case: str, behavior: str, close: str) -> str | None:
    """Why ours may say less than Autobahn does; None if nothing explains it."""
    told = f"{behavior}/{close}"
    return next((why for c, v, why in REASONS if fnmatch(case, c) and fnmatch(told, v)), None)


def without_counterpart(name: str) -> bool:
    """Whether no case of Autobahn looks at what ours, ``name``, does."""
    if name.startswith("deflate-"):
        return not fnmatch(name, "deflate-*-[jlnz]*")  # messages of many kinds and sizes
    if name.startswith("offer-"):
        return True
    return not any(fnmatch(name, pattern) for _, patterns in MAPPING for pattern in patterns)
