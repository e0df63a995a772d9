"""What each fault does, and when."""

from __future__ import annotations

import random

import pytest

from omega_ai.core.websocket.frames import CLOSE, CONTINUATION, PONG, TEXT, build_frame, close_frame
from omega_ai.testkit.faults import BadFault, build
from omega_ai.testkit.faults.chain import Faults
from omega_ai.testkit.faults.distributions import deviation
from omega_ai.testkit.faults.frame import Frame, FrameParser
from omega_ai.testkit.faults.model import Context, Opening, Signal
from omega_ai.tests.unit.testkit.faults.driving import (
    ANSWER,
    REQUEST,
    chain_of,
    data_of,
    drive,
    frames_of,
    signals_of,
    texts,
    toxic,
)

END = Signal.END


def near(expected):
    return pytest.approx(expected, abs=1e-6)


class TestLatency:
    """Later, in order."""

    def test_everything_is_late_by_that_much_the_end_not_later_than_the_last_byte(self):
        out = drive(chain_of(toxic("latency", latency=100)), [(1.0, b"a"), (1.05, b"b"), (1.06, END)])
        assert out == [(near(1.1), b"a"), (near(1.15), b"b"), (near(1.15), END)]

    def test_jitter_stays_within_its_bounds_and_nothing_overtakes(self):
        sent = [(number * 0.2, b"%d" % number) for number in range(200)]
        out = drive(chain_of(toxic("latency", latency=50, jitter=10)), sent)
        delays = [came - gone for (came, _), (gone, _) in zip(out, sent, strict=True)]
        assert 0.04 <= min(delays) < 0.043
        assert 0.057 < max(delays) <= 0.06

    def test_a_sender_is_told_to_wait_when_eight_mebibytes_are_under_way(self):
        chain = chain_of(toxic("latency", latency=1000))
        for _ in range(8):
            assert not chain.full
            chain.feed(bytes(1 << 20), 0.0)
        assert chain.full
        chain.tick(1.0)
        assert not chain.full

    @pytest.mark.parametrize("distribution", ["uniform", "normal", "pareto", "lognormal"])
    def test_distributions_have_the_mean_that_they_say(self, distribution):
        rng = random.Random(3)
        drawn = [deviation(distribution, 10.0, rng) for _ in range(40_000)]
        tail = distribution in ("pareto", "lognormal")
        assert sum(drawn) / len(drawn) == pytest.approx(10.0 if tail else 0.0, abs=0.5)
        assert not tail or min(drawn) >= 0


class TestBandwidth:
    """So many bytes a second."""

    def test_bytes_arrive_when_the_line_has_carried_them(self):
        out = drive(chain_of(toxic("bandwidth", rate=10)), [(0.0, bytes(500)), (2.0, bytes(100))])
        assert [(at, len(item)) for at, item in out] == [(near(0.05), 500), (near(2.01), 100)]

    def test_much_arrives_in_slices_of_a_tenth_of_a_second(self):
        out = drive(chain_of(toxic("bandwidth", rate=10)), [(0.0, bytes(2500)), (0.0, END)])
        assert [at for at, _ in out] == [near(0.1), near(0.2), near(0.25), near(0.25)]

    def test_a_late_tick_costs_no_throughput(self):
        chain = chain_of(toxic("bandwidth", rate=10))
        chain.feed(bytes(10_000), 0.0)
        assert sum(len(item) for item in chain.tick(0.55)) == 5000
        assert chain.next_wake() == near(0.6)

    def test_at_rate_0_nothing_passes_but_all_is_there_when_it_goes(self):
        chain = chain_of(toxic("bandwidth", rate=0))
        assert drive(chain, [(0.0, b"abc"), (0.0, END)]) == []
        chain._circuit.faults.clear()
        assert chain.refresh(5.0) == [b"abc", END]

    def test_connections_share_a_line_if_told_to(self):
        faults = Faults()
        faults.add(toxic("bandwidth", rate=10, shared=True))
        chains = [faults.circuit(number, 0.0).downstream for number in range(2)]
        for chain in chains:
            chain.feed(bytes(10_000), 0.0)
        for tenth in range(1, 11):
            for chain in chains:
                chain.tick(tenth / 10)
        assert sum(20_000 - chain.held for chain in chains) - 20_000 == pytest.approx(10_000, abs=1000)
        assert abs(chains[0].held - chains[1].held) <= 1000


class TestEnds:
    """How connections end."""

    def test_slow_close_delays_the_end_alone(self):
        out = drive(chain_of(toxic("slow_close", delay=300)), [(0.0, b"a"), (0.1, END)])
        assert out == [(0.0, b"a"), (near(0.4), END)]

    def test_timeout_swallows_and_closes_when_nothing_came_for_so_long(self):
        out = drive(chain_of(toxic("timeout", timeout=100)), [(0.05, b"a"), (0.1, b"b")])
        assert out == [(near(0.2), Signal.CLOSE)]

    def test_timeout_0_swallows_for_ever_and_closes_when_it_is_removed(self):
        chain = chain_of(toxic("timeout", timeout=0))
        assert drive(chain, [(0.0, b"a"), (9.0, b"b")]) == []
        chain._circuit.faults.clear()
        assert chain.refresh(10.0) == [Signal.CLOSE]

    def test_reset_comes_so_long_after_the_first_byte(self):
        out = drive(chain_of(toxic("reset_peer", timeout=500)), [(1.0, b"a"), (1.2, b"b")])
        assert out == [(near(1.5), Signal.RESET)]

    def test_reset_is_set_off_by_the_end_too(self):
        assert drive(chain_of(toxic("reset_peer")), [(1.0, END)]) == [(1.0, Signal.RESET)]

    def test_limit_closes_when_so_many_bytes_have_passed(self):
        out = drive(chain_of(toxic("limit_data", bytes=5)), [(0.0, b"abc"), (0.0, b"defg")])
        assert out == [(0.0, b"abc"), (0.0, b"de"), (0.0, Signal.CLOSE)]

    def test_a_new_limit_counts_what_has_passed(self):
        chain = chain_of(toxic("limit_data", bytes=100))
        chain.feed(b"12345678", 0.0)
        chain._circuit.faults.update(toxic("limit_data", bytes=10))
        chain.refresh(0.0)
        assert chain.feed(b"abcd", 0.0) == [b"ab", Signal.CLOSE]

    def test_a_close_waits_behind_what_is_late(self):
        """What was let through before the limit still arrives, at its time."""
        chain = chain_of(toxic("limit_data", bytes=3), toxic("latency", latency=100))
        assert drive(chain, [(0.0, b"abcdef")]) == [(near(0.1), b"abc"), (near(0.1), Signal.CLOSE)]


class TestSlicer:
    """Small pieces."""

    def test_pieces_have_the_size_and_the_distance_asked_for(self):
        fault = toxic("slicer", average_size=10, size_variation=2, delay=1000)
        out = drive(chain_of(fault), [(0.0, bytes(100))])
        sizes = [len(item) for _, item in out]
        assert all(8 <= size <= 12 for size in sizes[:-1])
        assert len(set(sizes)) > 1
        assert [at for at, _ in out] == [near(n / 1000) for n in range(len(out))]


class TestStall:
    """Loss as it looks over TCP."""

    def test_behind_a_lost_segment_everything_waits_and_comes_at_once(self):
        sent = [(number / 100, bytes(100)) for number in range(300)]
        out = drive(chain_of(toxic("stall", loss=0.05, rto=200)), sent)
        waits = [came - gone for (came, _), (gone, _) in zip(out, sent, strict=True)]
        assert 0.19 < max(waits) < 1.0
        assert waits.count(0.0) > 100
        bursts = [at for at in {at for at, _ in out} if sum(came == at for came, _ in out) > 5]
        assert bursts

    def test_where_more_follows_a_loss_is_noticed_after_a_round_trip(self):
        fault = toxic("stall", loss=0.1, rtt=40, rto=1000)
        out = drive(chain_of(fault, seed=4), [(0.0, bytes(1460 * 40))])
        assert near(0.04) in [at for at, _ in out]

    @pytest.mark.parametrize(
        ("size", "lost", "expected"),
        [
            (1, 1, 0.2),
            (1, 2, 0.6),
            (1, 3, 1.4),
            (5 * 1460, 1, 0.05),
            (5 * 1460, 2, 0.25),
            (5 * 1460, 3, 0.65),
        ],
    )
    def test_the_wait_doubles_each_time_that_the_repetition_is_lost(self, size, lost, expected):
        class Scripted(random.Random):
            def random(self):
                return 0.0 if next(fates, False) else 1.0

        fates = iter([True] * lost)
        context = Context(
            stream="downstream",
            placed="downstream",
            connection=0,
            now=0.0,
            rng=Scripted(),
            connection_memory={},
            toxic_memory={},
        )
        stage = build("stall", {"loss": 0.5, "rtt": 50, "rto": 200}).stage(context)
        stage.feed(bytes(size), 0.0)
        assert stage.next_wake() == near(expected)

    def test_no_wait_is_longer_than_a_minute(self):
        out = drive(chain_of(toxic("stall", loss=1.0, rto=1000)), [(0.0, b"x")])
        assert out == [(near(60.0), b"x")]


class TestCorrupt:
    """Changed bytes."""

    def test_as_many_bytes_change_as_the_probability_says(self):
        data = bytes(20_000)
        came = data_of(drive(chain_of(toxic("corrupt", probability=0.01)), [(0.0, data)]))
        assert len(came) == len(data)
        assert 150 < sum(byte != 0 for byte in came) < 250

    def test_the_beginning_can_be_spared_and_the_number_bounded(self):
        fault = toxic("corrupt", probability=1.0, skip=10, limit=3)
        assert [i for i, b in enumerate(data_of(drive(chain_of(fault), [(0.0, bytes(50))]))) if b] == [
            10,
            11,
            12,
        ]


class TestDeadPaths:
    """Nothing arrives, and nobody says so."""

    def test_a_black_hole_keeps_all_in_both_directions_until_it_goes(self):
        faults = Faults()
        faults.add(toxic("blackhole", after=100))
        circuit = faults.circuit(0, 0.0)
        assert circuit.upstream.feed(b"early", 0.05) == [b"early"]
        for chain in (circuit.upstream, circuit.downstream):
            assert chain.feed(b"x", 0.2) == chain.finish(Signal.RESET, 0.3) == []
        faults.clear()
        assert circuit.refresh(9.0) == {"upstream": [b"x", Signal.RESET], "downstream": [b"x", Signal.RESET]}

    def test_one_way_leaves_the_other_open(self):
        faults = Faults()
        faults.add(toxic("blackhole", one_way=True))
        circuit = faults.circuit(0, 0.0)
        assert circuit.upstream.feed(b"x", 0.0) == [b"x"]
        assert circuit.downstream.feed(b"x", 0.0) == []

    @pytest.mark.parametrize(("answer", "expected"), [("silence", []), ("reset", [Signal.RESET])])
    def test_half_open_cuts_the_sender_off_and_leaves_the_other_hanging(self, answer, expected):
        faults = Faults()
        faults.add(toxic("half_open", after=100, answer=answer))
        circuit = faults.circuit(0, 0.0)
        assert circuit.upstream.feed(b"before", 0.05) == [b"before"]
        assert circuit.downstream.next_wake() == near(0.1)
        assert circuit.downstream.tick(0.1) == [Signal.VANISH]
        assert circuit.upstream.feed(b"after", 0.2) == expected


class TestOpening:
    """What becomes of new connections."""

    @pytest.mark.parametrize(
        ("kind", "attributes", "expected"),
        [
            ("refuse", {}, Opening(refuse="reset")),
            ("refuse", {"how": "close"}, Opening(refuse="close")),
            ("slow_accept", {"delay": 1500}, Opening(delay=1.5)),
            ("silent_accept", {}, Opening(silent=True)),
            ("tls_certificate", {"show": "wrong_name"}, Opening(certificate="wrong_name")),
            ("tls_cut", {"bytes": 7}, Opening(cut_handshake=7)),
        ],
    )
    def test_each_decides_over_a_new_connection(self, kind, attributes, expected):
        faults = Faults()
        assert faults.opening(0, 0.0) == Opening()
        faults.add(toxic(kind, **attributes))
        assert faults.opening(0, 0.0) == expected


def through(fault, frames, stream="downstream"):
    data = (REQUEST if stream == "upstream" else ANSWER) + b"".join(frames)
    return frames_of(data_of(drive(chain_of(fault, stream=stream), [(0.0, data)])), stream)


class TestFrames:
    """Faults that see frames."""

    def test_the_chosen_are_dropped(self):
        frames = texts(6)
        assert through(toxic("ws_drop", skip=1, limit=2), frames) == [frames[0], *frames[3:]]

    def test_pongs_are_withheld_and_nothing_else(self):
        frames = [*texts(2), build_frame(PONG, b"1"), *texts(1)]
        assert through(toxic("ws_no_pong"), frames) == [*texts(2), *texts(1)]

    def test_copies_follow_at_once(self):
        first, second = texts(2)
        assert through(toxic("ws_duplicate", limit=1, copies=2), [first, second]) == [first] * 3 + [second]

    def test_a_frame_is_overtaken_by_so_many(self):
        a, b, c, d = texts(4)
        assert through(toxic("ws_reorder", limit=1, distance=2), [a, b, c, d]) == [b, c, a, d]

    def test_without_others_it_waits_no_longer_than_told(self):
        frame = texts(1)[0]
        out = drive(chain_of(toxic("ws_reorder", hold=250)), [(0.0, ANSWER + frame)])
        assert out == [(0.0, ANSWER), (near(0.25), frame)]

    def test_every_frame_chosen_swaps_them_in_pairs(self):
        a, b, c, d = texts(4)
        assert through(toxic("ws_reorder"), [a, b, c, d]) == [b, a, d, c]

    def test_nothing_is_put_between_the_fragments_of_a_message(self):
        lone, after = texts(2)
        begin = build_frame(TEXT, b"be", fin=False)
        end = build_frame(CONTINUATION, b"gin")
        fault = toxic("ws_reorder", limit=1)
        assert through(fault, [lone, begin, end, after]) == [begin, end, after, lone]

    def test_time_that_is_over_waits_for_the_end_of_such_a_message(self):
        lone = texts(1)[0]
        begin = build_frame(TEXT, b"be", fin=False)
        middle, end = build_frame(CONTINUATION, b"g", fin=False), build_frame(CONTINUATION, b"in")
        sent = [(0.0, ANSWER), (0.0, lone), (0.05, begin), (0.15, middle), (0.2, end)]
        out = drive(chain_of(toxic("ws_delay", limit=1, delay=100)), sent)
        assert out[1:] == [(0.05, begin), (0.15, middle), (0.2, end), (0.2, lone)]

    def test_a_delayed_frame_is_late_alone(self):
        a, b = texts(2)
        out = drive(chain_of(toxic("ws_delay", limit=1, delay=80)), [(0.0, ANSWER), (0.0, a), (0.01, b)])
        assert out == [(0.0, ANSWER), (near(0.01), b), (near(0.08), a)]

    def test_a_close_frame_lets_everything_go_first(self):
        a, end = texts(1)[0], close_frame(1000)
        assert through(toxic("ws_delay", delay=1000), [a, end]) == [a, end]

    def test_digits_become_other_digits(self):
        frame = build_frame(TEXT, b'{"price":61800.01}')
        (came,) = through(toxic("ws_corrupt", what="digits"), [frame])
        differing = [(a, b) for a, b in zip(frame, came, strict=True) if a != b]
        assert len(differing) == 1
        assert all(chr(byte).isdigit() for byte in differing[0])

    def test_fragments_are_a_legal_message(self):
        frame = build_frame(TEXT, b"abcdefgh", rsv1=True)
        assert through(toxic("ws_fragment", size=3), [frame]) == [
            build_frame(TEXT, b"abc", fin=False, rsv1=True),
            build_frame(CONTINUATION, b"def", fin=False),
            build_frame(CONTINUATION, b"gh"),
        ]

    def test_fragments_come_apart_and_what_follows_waits(self):
        data = build_frame(TEXT, b"abcd") + build_frame(TEXT, b"e")
        out = drive(chain_of(toxic("ws_fragment", size=2, delay=100)), [(0.0, ANSWER), (0.0, data)])
        assert [at for at, _ in out] == [0.0, 0.0, near(0.1), near(0.1)]

    def test_a_payload_is_cut_short_and_the_stream_stays_in_step(self):
        assert through(toxic("ws_truncate", bytes=2), [build_frame(TEXT, b"abcd")]) == [
            build_frame(TEXT, b"ab")
        ]

    def test_a_frame_is_cut_short_and_the_stream_falls_out_of_step(self):
        frame = build_frame(TEXT, b"abcd")
        fault = toxic("ws_truncate", bytes=2, what="frame")
        assert data_of(drive(chain_of(fault), [(0.0, ANSWER + frame)])) == ANSWER + frame[:-2]

    def test_a_client_does_not_mask_and_a_server_does(self):
        masked = build_frame(TEXT, b"abc", mask=b"\1\2\3\4")
        assert through(toxic("ws_mask", "upstream"), [masked], "upstream") == [build_frame(TEXT, b"abc")]
        (came,) = through(toxic("ws_mask"), [build_frame(TEXT, b"abc")])
        assert came[1] & 0x80
        assert len(came) == 9

    def test_a_wrong_key_spoils_every_byte(self):
        masked = build_frame(TEXT, b"abcdef", mask=b"\1\2\3\4")
        (came,) = through(toxic("ws_mask", "upstream", what="wrong_key"), [masked], "upstream")
        assert came[6:] == masked[6:]
        assert all(a != b for a, b in zip(came[2:6], masked[2:6], strict=True))

    def test_a_close_is_forged_and_the_rest_swallowed(self):
        a, b, c = texts(3)
        fault = toxic("ws_close", skip=1, code=1012, reason="restart")
        assert through(fault, [a, b, c]) == [a, close_frame(1012, "restart")]
        assert through(toxic("ws_close", skip=1, swallow=False), [a, b, c]) == [a, close_frame(1001), b, c]

    def test_a_client_s_forged_close_is_masked(self):
        (came,) = through(toxic("ws_close", "upstream", code=1005), texts(1, "upstream"), "upstream")
        assert came[0] & 0x0F == CLOSE
        assert came[1] & 0x80

    def test_what_is_no_websocket_stream_is_left_alone(self):
        data = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"".join(texts(3))
        assert data_of(drive(chain_of(toxic("ws_drop")), [(0.0, data)])) == data

    def test_a_frame_too_large_to_keep_passes_as_it_is(self):
        big = build_frame(TEXT, bytes(1 << 20))
        small = texts(1)[0]
        chain = chain_of(toxic("ws_drop"))
        out = drive(chain, [(0.0, ANSWER), *((0.0, big[i : i + 65_536]) for i in range(0, len(big), 65_536))])
        out += drive(chain, [(0.0, small)])
        assert data_of(out) == ANSWER + big

    def test_a_frame_in_a_million_pieces_takes_no_longer_than_it_must(self):
        """Were it put together with every piece, this would copy half a terabyte."""
        frame = build_frame(TEXT, bytes(1_000_000))
        parser = FrameParser("downstream", fresh=False)
        parser.feed(texts(1)[0])
        pieces = [piece for byte in frame for piece in parser.feed(bytes((byte,)))]
        assert pieces == [Frame(frame, 10)]

    def test_a_stream_under_way_is_joined_between_two_frames(self):
        """A toxic is placed while the connection is open."""
        a, b, c = texts(3)
        chain = chain_of()
        chain.feed(ANSWER + a, 0.0)
        chain._circuit.faults.add(toxic("ws_drop"))
        chain.refresh(0.0)
        assert chain.feed(b[:4], 0.0) == [b[:4]]
        assert chain.feed(b[4:], 0.0) == [b[4:]]
        assert chain.feed(b + c, 0.0) == []

    def test_the_end_finds_a_frame_cut_off_as_it_is(self):
        frame = texts(1)[0]
        out = drive(chain_of(toxic("ws_drop")), [(0.0, ANSWER + frame[:5]), (0.0, END)])
        assert data_of(out) == ANSWER + frame[:5]
        assert signals_of(out) == [END]


class TestHandshake:
    """The one fault that changes it."""

    OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

    def test_the_offer_of_extensions_is_taken_out_and_nothing_else(self):
        head, _, end = REQUEST.partition(b"Upgrade:")
        request = head + self.OFFER + b"Upgrade:" + end
        frame = texts(1, "upstream")[0]
        chain = chain_of(toxic("ws_no_deflate"), stream="upstream")
        sent = [(0.0, request[:70]), (0.0, request[70:] + frame), (0.0, frame)]
        assert data_of(drive(chain, sent)) == REQUEST + frame + frame

    def test_a_request_that_is_no_upgrade_keeps_all(self):
        request = b"GET / HTTP/1.1\r\nHost: x\r\n" + self.OFFER + b"\r\n"
        chain = chain_of(toxic("ws_no_deflate"), stream="upstream")
        assert data_of(drive(chain, [(0.0, request)])) == request

    def test_what_is_no_request_at_all_passes_in_the_end(self):
        chain = chain_of(toxic("ws_no_deflate"), stream="upstream")
        assert data_of(drive(chain, [(0.0, bytes(70_000)), (0.0, b"more")])) == bytes(70_000) + b"more"


class TestBuilding:
    """From a name and attributes."""

    @pytest.mark.parametrize(
        ("kind", "attributes", "message"),
        [
            ("latncy", {}, "there is no fault 'latncy': did you mean 'latency'?"),
            ("latency", {"latncy": 1}, "latency has no attribute 'latncy': did you mean 'latency'?"),
            ("latency", {"latency": -1}, "latency: Expected `int` >= 0 - at `$.latency`"),
            ("latency", {"latency": "1"}, "latency: Expected `int | float`, got `str` - at `$.latency`"),
            ("stall", {"loss": 1.5}, "stall: Expected `float` <= 1.0 - at `$.loss`"),
            ("ws_close", {"code": 0, "reason": "x"}, "a reason cannot stand without a code"),
            ("ws_close", {"reason": "ü" * 100}, "the reason has 200 bytes; a close frame holds 123"),
        ],
    )
    def test_what_cannot_be_is_refused_with_what_can(self, kind, attributes, message):
        with pytest.raises(BadFault) as caught:
            build(kind, attributes)
        assert message in str(caught.value)

    def test_attributes_of_others_are_ignored_when_asked_to(self):
        assert build("latency", {"latency": 5, "other": 1}, strict=False) == build("latency", {"latency": 5})
