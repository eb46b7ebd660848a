# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Waves in which hosts copy a version from each other."""

from __future__ import annotations

import math
import random

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models import waves
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models.waves import Failure, Spread
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = st.integers(0, 400).map("host-{}".format)
RACKS = st.dictionaries(NAMES, st.sampled_from(["a", "b", "c", "d", ""]), max_size=60)


@st.composite
def spreads(draw):
    hosts = draw(st.sets(NAMES, min_size=1, max_size=60))
    holders = draw(st.sets(st.sampled_from(sorted(hosts)), min_size=1))
    missing = hosts - holders
    failed = ()
    if missing:
        pairs = st.tuples(st.sampled_from(sorted(missing)), st.sampled_from(sorted(holders)))
        failed = tuple(draw(st.lists(pairs, max_size=10)))
    return Spread(frozenset(holders), frozenset(missing), failed)


def done(spread, racks):
    """Return the spreads after each wave if nothing fails."""
    found = [spread]
    while pairs := waves.wave(found[-1], racks):
        found.append(waves.after(found[-1], pairs, dict.fromkeys(pairs)))
    return found


# --- one wave ----------------------------------------------------------------------------------------------


@given(spreads(), RACKS)
def test_a_holder_has_one_reader_and_all_of_them_have_one_if_there_are_enough(spread, racks):
    pairs = waves.wave(spread, racks)
    assert pairs.keys() <= spread.missing
    assert set(pairs.values()) <= spread.holders
    assert len(set(pairs.values())) == len(pairs) == min(len(spread.holders), len(spread.missing))


@given(spreads(), RACKS)
def test_no_holder_sends_to_another_rack_while_its_own_has_a_reader_left(spread, racks):
    pairs = waves.wave(spread, racks)
    for reader, holder in pairs.items():
        rack = racks.get(holder, "")
        left = [mate for mate in spread.missing - pairs.keys() if racks.get(mate, "") == rack]
        assert racks.get(reader, "") == rack or all((mate, holder) in spread.failed for mate in left)


@given(spreads(), RACKS, st.randoms())
def test_equal_input_gives_equal_pairs_whatever_its_order(spread, racks, chance):
    def shuffled(names):
        return frozenset(chance.sample(sorted(names), len(names)))

    again = Spread(shuffled(spread.holders), shuffled(spread.missing), spread.failed[::-1])
    pairs = waves.wave(spread, racks)
    assert list(waves.wave(again, dict(sorted(racks.items(), reverse=True))).items()) == list(pairs.items())


@given(spreads(), RACKS)
def test_a_pair_that_failed_is_tried_again_only_if_the_holder_has_nobody_else(spread, racks):
    pairs = waves.wave(spread, racks)
    for reader, holder in pairs.items():
        if (reader, holder) in spread.failed:
            assert all((mate, holder) in spread.failed for mate in spread.missing - pairs.keys())


def test_spare_holders_go_first_to_racks_that_have_none():
    racks = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b", "c1": "c", "d1": "d"}
    spread = Spread(frozenset({"a1", "a2", "a3"}), frozenset({"b1", "b2", "c1", "d1"}))
    assert waves.wave(spread, racks) == {"b1": "a1", "c1": "a2", "d1": "a3"}


def test_nobody_reads_where_no_holder_is_left():
    assert waves.wave(Spread(frozenset(), frozenset({"a"})), {}) == {}


# --- all waves ---------------------------------------------------------------------------------------------


@given(spreads(), RACKS)
def test_all_get_it_within_the_bound(spread, racks):
    found = done(Spread(spread.holders, spread.missing), racks)
    assert found[-1].holders == spread.holders | spread.missing
    assert not waves.stranded(found[-1])
    assert len(found) - 1 == waves.most_waves(len(spread.missing), len(spread.holders))


@pytest.mark.parametrize("readers", [1, 2, 3, 4, 7, 8, 100, 127, 128, 200])
def test_one_seed_needs_no_more_waves_than_the_logarithm(readers):
    hosts = frozenset(f"host-{number}" for number in range(readers))
    racks = {host: f"rack-{int(host[5:]) % 7}" for host in hosts}
    assert len(done(Spread(frozenset({"seed"}), hosts), racks)) - 1 == math.ceil(math.log2(readers + 1))


def test_several_seeds_save_waves():
    hosts = frozenset(f"host-{number}" for number in range(200))
    seeds = frozenset(f"seed-{number}" for number in range(4))
    assert len(done(Spread(seeds, hosts), {})) - 1 == 6


@settings(max_examples=200)
@given(spreads(), RACKS, st.integers(0, 2**32), st.floats(0, 1))
def test_whatever_fails_it_ends_and_every_host_has_it_or_is_named(spread, racks, seed, share):
    chance = random.Random(seed)
    everybody = spread.holders | spread.missing
    spread = Spread(spread.holders, spread.missing)
    for _ in range(3 * len(everybody) + 1):
        pairs = waves.wave(spread, racks)
        if not pairs:
            break
        results = {}
        for reader in pairs:
            outcome = chance.choice(["shared", "own", "silent"]) if chance.random() < share else "done"
            if outcome != "silent":
                results[reader] = None if outcome == "done" else Failure("no", outcome == "own")
        spread = waves.after(spread, pairs, results)
    assert not waves.wave(spread, racks)
    assert spread.holders | spread.lost.keys() | waves.stranded(spread).keys() == everybody
    assert not spread.holders & waves.stranded(spread).keys()


# --- failures ----------------------------------------------------------------------------------------------


def test_the_readers_of_a_lost_holder_are_given_another_one():
    spread = Spread(frozenset({"h1", "h2"}), frozenset({"r1", "r2"}))
    assert waves.wave(spread, {}) == {"r1": "h1", "r2": "h2"}
    spread = waves.without(waves.after(spread, {"r2": "h2"}, {"r2": None}), {"h1": "unreachable"})
    assert spread.lost == {"h1": "unreachable"}
    assert waves.wave(spread, {}) == {"r1": "h2"}


def test_one_failed_transfer_loses_neither_and_pairs_them_anew():
    spread = Spread(frozenset({"h1", "h2"}), frozenset({"r1", "r2"}))
    pairs = waves.wave(spread, {})
    spread = waves.after(spread, pairs, dict.fromkeys(pairs, Failure("it broke off")))
    assert not spread.lost
    assert not spread.dropped
    assert waves.wave(spread, {}) == {"r1": "h2", "r2": "h1"}


def test_a_holder_that_fails_two_readers_is_lost_and_named():
    spread = Spread(frozenset({"h1"}), frozenset({"r1", "r2", "r3"}))
    for reader in ("r1", "r2"):
        assert waves.wave(spread, {}) == {reader: "h1"}
        spread = waves.after(spread, {reader: "h1"}, {reader: Failure("it broke off")})
    assert spread.lost == {"h1": "transfers to r1 and r2 failed"}
    assert not spread.dropped
    assert waves.stranded(spread) == dict.fromkeys(["r1", "r2", "r3"], "no host is left to copy from")


def test_a_reader_that_fails_with_two_holders_drops_out_and_they_go_on():
    spread = Spread(frozenset({"h1", "h2"}), frozenset({"r1"}))
    for holder in ("h1", "h2"):
        assert waves.wave(spread, {}) == {"r1": holder}
        spread = waves.after(spread, {"r1": holder}, {"r1": Failure("it cannot connect")})
    assert spread.dropped == {"r1": "it cannot connect"}
    assert spread.holders == {"h1", "h2"}


def test_a_reader_with_a_full_disk_drops_out_at_once_and_its_holder_is_not_blamed():
    spread = waves.after(
        Spread(frozenset({"h1"}), frozenset({"r1"})), {"r1": "h1"}, {"r1": Failure("its disk is full", own=True)}
    )
    assert waves.stranded(spread) == {"r1": "its disk is full"}
    assert spread.holders == {"h1"}
    assert not spread.failed


def test_a_reader_that_does_not_answer_drops_out():
    spread = waves.after(Spread(frozenset({"h1"}), frozenset({"r1"})), {"r1": "h1"}, {})
    assert waves.stranded(spread) == {"r1": "it did not answer"}
    assert not spread.failed


def test_a_host_that_is_gone_before_it_reads_drops_out():
    spread = waves.without(Spread(frozenset({"h1"}), frozenset({"r1"})), {"r1": "unreachable", "other": "x"})
    assert spread.dropped == {"r1": "unreachable"}
    assert not spread.missing
    assert not spread.lost


# --- seeds, setting and estimate ---------------------------------------------------------------------------


def test_seeds_are_the_first_of_each_rack():
    racks = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}
    assert waves.seeds(["b1", "a2", "a1", "c1"], racks, 2) == ["a1", "b1"]
    assert waves.seeds(["b1", "a2", "a1", "c1"], racks, 9) == ["a1", "b1", "c1"]
    assert waves.seeds(["x", "y"], {}, 2) == ["x"]


@pytest.mark.parametrize(
    ("setting", "hosts", "size", "wanted"),
    [
        ("auto", 4, 1_000_000_000, True),
        ("auto", 3, 1_000_000_000, False),
        ("auto", 200, 999_999_999, False),
        ("always", 2, 1, True),
        ("always", 1, 10**12, False),
        ("never", 200, 10**12, False),
    ],
)
def test_who_copies_from_others(setting, hosts, size, wanted):
    assert waves.wanted(setting, hosts, size) is wanted


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            (50e9, 200, 1, 0.4e9),
            "50 GB, 200 hosts: 8 waves, about 17 min, after the controller has sent 50 GB, not 10 TB",
        ),
        (
            (130e9, 200, 4, 0.11e9),
            "130 GB, 200 hosts: 6 waves, about 2.0 h, after the controller has sent 520 GB, not 26 TB",
        ),
        ((1.5e9, 2, 1, 1e9), "1.5 GB, 2 hosts: 1 wave, about 2 s, after the controller has sent 1.5 GB, not 3 GB"),
        (
            (50e9, 6, 0, 0.4e9, 2),
            "50 GB, 6 hosts: 2 waves, about 4 min; the controller sends nothing, instead of 300 GB",
        ),
        ((2e6, 1, 1, 1e9), "2 MB, 1 host: 0 waves, about 1 s, after the controller has sent 2 MB"),
    ],
)
def test_the_estimate_is_told_in_words(given, words):
    size, *others = given
    assert waves.estimate(int(size), *others).words == words


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (999_600, "1 MB"), (1_520_000_000, "1.52 GB"), (26e15, "26000 TB")],
)
def test_sizes_are_told_as_people_say_them(size, words):
    assert waves.in_words(size) == words
