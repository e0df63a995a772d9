"""Every fault of the zoo, and the case that must catch it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from omega_ai.testkit.zoo import delivery, guarding, loaded, protocol, returning, secure, times
from omega_ai.testkit.zoo.site import EchoSite, Site


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One server: what is wrong with it, and which case says so."""

    name: str
    site: type[Site]
    case: str
    kind: str | None = None
    """The kind of finding that the case must make; None: the case has no findings but its verdict."""
    tls: secure.Make | None = None

    @property
    def fault(self) -> str:
        """What is wrong, in one sentence: the docstring of what makes it so."""
        text = (self.tls.__doc__ if self.tls is not None else self.site.__doc__) or ""
        return text.strip().partition("\n")[0]


EXHIBITS: Final = (
    Exhibit("loses-for-one", delivery.LosesForOne, "broadcast.fan-out", "lost"),
    Exhibit("loses-1-in-10,000-for-one", delivery.RarelyForOne, "broadcast.many", "lost"),
    Exhibit("loses-for-all", delivery.LosesForAll, "broadcast.fan-out", "lost"),
    Exhibit("loses-tail", delivery.LosesTail, "broadcast.burst", "lost"),
    Exhibit("loses-echo", delivery.LosesEcho, "messages.burst", "lost"),
    Exhibit("skips-numbers", delivery.SkipsNumbers, "broadcast.fan-out", "lost"),
    Exhibit("doubles", delivery.Doubles, "broadcast.fan-out", "duplicated"),
    Exhibit("swaps", delivery.Swaps, "broadcast.fan-out", "reordered"),
    Exhibit("flips-bit", delivery.FlipsBit, "broadcast.fan-out", "corrupted"),
    Exhibit("cuts-long", delivery.CutsLong, "messages.sizes", "corrupted"),
    Exhibit("astray", delivery.Astray, "messages.separate", "unexpected"),
    Exhibit("tells-strangers", delivery.TellsStrangers, "broadcast.only-subscribers", "unexpected"),
    Exhibit("chatty", delivery.Chatty, "messages.burst", "unexpected"),
    Exhibit("late", delivery.Late, "messages.steady", "late"),
    Exhibit("slow-for-some", delivery.SlowForSome, "broadcast.fan-out", "slow"),
    Exhibit("unequal", delivery.Unequal, "broadcast.fan-out", "unequal"),
    Exhibit("no-common-order", delivery.NoCommonOrder, "broadcast.publishers", "unequal"),
    Exhibit("held-up-by-one", delivery.HeldUpByOne, "broadcast.stalled-listener"),
    Exhibit("binary-as-text", delivery.BinaryAsText, "messages.binary"),
    Exhibit("not-unicode", delivery.NotUnicode, "messages.unicode"),
    Exhibit("mute", delivery.Mute, "messages.mistakes"),
    Exhibit("touchy", delivery.Touchy, "messages.mistakes"),
    Exhibit("relays-anything", delivery.RelaysAnything, "security.no-relay"),
    Exhibit("wrong-zone", times.WrongZone, "broadcast.fan-out", "stale"),
    Exhibit("old", times.Old, "messages.feed", "stale"),
    Exhibit("crossed", times.Crossed, "messages.feed", "crossed"),
    Exhibit("frozen", times.Frozen, "messages.feed", "frozen"),
    Exhibit("jumps", times.Jumps, "messages.feed", "jump"),
    Exhibit("negative", times.Negative, "messages.feed", "impossible"),
    Exhibit("doubles-after-reconnect", returning.DoublesAfterReconnect, "reconnection.resume", "duplicated"),
    Exhibit("gap-after-reconnect", returning.GapAfterReconnect, "reconnection.resume", "gap"),
    Exhibit("nothing-after-reconnect", returning.NothingAfterReconnect, "reconnection.resume", "gap"),
    Exhibit("recovers-anything", returning.RecoversAnything, "reconnection.resume-from-nowhere"),
    Exhibit("counts-forever", returning.CountsForever, "reconnection.again-and-again"),
    Exhibit("no-storm", returning.NoStorm, "reconnection.storm"),
    Exhibit("no-pong", protocol.NoPong, "connectivity.ping"),
    Exhibit("wrong-pong", protocol.WrongPong, "connectivity.ping"),
    Exhibit("wrong-close-code", protocol.WrongCloseCode, "connectivity.close"),
    Exhibit("no-close-answer", protocol.NoCloseAnswer, "connectivity.close"),
    Exhibit("never-ends", protocol.NeverEnds, "connectivity.close"),
    Exhibit("masks", protocol.Masks, "messages.echo"),
    Exhibit("sets-reserved-bit", protocol.SetsReservedBit, "messages.echo"),
    Exhibit("broken-utf8", protocol.BrokenUtf8, "messages.unicode"),
    Exhibit("drops-fragment", protocol.DropsFragment, "messages.fragments"),
    Exhibit("broken-window", protocol.BrokenWindow, "messages.compressed"),
    Exhibit("speaks-too-early", protocol.SpeaksTooEarly, "connectivity.handshake"),
    Exhibit("wrong-accept", protocol.WrongAccept, "connectivity.handshake"),
    Exhibit("agrees-to-anything", protocol.AgreesToAnything, "connectivity.subprotocol"),
    Exhibit("upgrades-plain-http", protocol.UpgradesAnything, "connectivity.plain-http"),
    Exhibit("upgrades-anything", protocol.UpgradesAnything, "security.bad-handshakes", "upgraded"),
    Exhibit("shows-its-inside", protocol.ShowsItsInside, "security.bad-handshakes", "disclosure"),
    Exhibit("takes-unmasked", protocol.TakesUnmasked, "security.bad-frames", "accepted"),
    Exhibit("no-frame-checks", protocol.NoFrameChecks, "security.bad-frames", "accepted"),
    Exhibit("takes-any-size", protocol.TakesAnySize, "security.oversized"),
    Exhibit("no-fragment-limit", protocol.NoFragmentLimit, "security.endless-fragments"),
    Exhibit("idle-cut", protocol.IdleCut, "connectivity.idle"),
    Exhibit("any-origin", guarding.AnyOrigin, "security.origin"),
    Exhibit("any-token", guarding.AnyToken, "security.bad-token"),
    Exhibit("patient", guarding.PatientWithHandshakes, "security.slow-handshakes"),
    Exhibit("blocking", guarding.Blocking, "security.flood"),
    Exhibit("falls-with-one", guarding.FallsWithOne, "connectivity.abrupt-end"),
    Exhibit("few-at-once", guarding.FewAtOnce, "connectivity.many"),
    Exhibit("counts-silent", guarding.CountsSilent, "security.silent-connections"),
    Exhibit("slow-for-one-in-fifty", loaded.SlowForOneInFifty, "load.burst", "late"),
    Exhibit("slows-under-load", loaded.SlowsUnderLoad, "load.burst", "late"),
    Exhibit("loses-under-load", loaded.LosesUnderLoad, "load.burst", "lost"),
    Exhibit("refuses-many", loaded.RefusesMany, "load.arrivals", "refused"),
    Exhibit("expired", EchoSite, "tls.certificate", "certificate", secure.expired),
    Exhibit("not-yet-valid", EchoSite, "tls.certificate", "certificate", secure.not_yet_valid),
    Exhibit("wrong-name", EchoSite, "tls.certificate", "certificate", secure.wrong_name),
    Exhibit("no-name", EchoSite, "tls.certificate", "name", secure.no_name),
    Exhibit("self-signed", EchoSite, "tls.certificate", "certificate", secure.self_signed),
    Exhibit("short-key", EchoSite, "tls.certificate", "key", secure.short_key),
    Exhibit("old-versions", EchoSite, "tls.versions", "old version", secure.old_versions),
    Exhibit("no-authentication", EchoSite, "tls.ciphers", "cipher", secure.no_authentication),
    Exhibit("no-intermediate", EchoSite, "tls.chain", "incomplete", secure.no_intermediate),
    Exhibit("chain-in-disorder", EchoSite, "tls.chain", "order", secure.chain_in_disorder),
    Exhibit("revoked", EchoSite, "tls.ocsp", "revoked", secure.revoked),
    Exhibit("expired-staple", EchoSite, "tls.ocsp", "expired staple", secure.expired_staple),
    Exhibit("no-staple", EchoSite, "tls.ocsp", "no staple", secure.no_staple),
    Exhibit("staple-of-another", EchoSite, "tls.ocsp", "wrong staple", secure.staple_of_another),
    Exhibit("forged-staple", EchoSite, "tls.ocsp", "staple signature", secure.forged_staple),
    Exhibit(
        "no-secure-renegotiation",
        EchoSite,
        "tls.renegotiation",
        "no secure renegotiation",
        secure.no_secure_renegotiation,
    ),
    Exhibit(
        "client-renegotiation",
        EchoSite,
        "tls.renegotiation",
        "client renegotiation",
        secure.client_renegotiation,
    ),
)

ENDURING: Final = (
    Exhibit("leaks-descriptors", loaded.LeaksDescriptors, "soak.memory", "growth"),
    Exhibit("grows-memory", loaded.GrowsMemory, "soak.memory", "growth"),
    Exhibit("slows-for-ever", loaded.SlowsForEver, "soak.latency", "growth"),
    Exhibit("never-recovers", loaded.NeverRecovers, "stress.messages", "recovery"),
    Exhibit("loses-when-stressed", loaded.LosesUnderLoad, "stress.messages", "loss"),
)
"""Servers whose fault takes a while to show: ``python -m omega_ai.testkit.zoo.enduring``."""

RIGHT: Final = (
    Exhibit("right", Site, "", None, secure.right),
    Exhibit("right-echo", EchoSite, "", None, secure.right),
    Exhibit("whole-chain", EchoSite, "tls.chain", None, secure.whole_chain),
    Exhibit("good-staple", EchoSite, "tls.ocsp", None, secure.good_staple),
    Exhibit("delegated-staple", EchoSite, "tls.ocsp", None, secure.delegated_staple),
)
"""Servers at which no case may raise an alarm; one with a case is made for that case, the others for all."""
