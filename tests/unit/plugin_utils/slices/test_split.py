# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who is in which slice, and in which batches: every host once, no batch larger than its share or across domains."""

from __future__ import annotations

from itertools import groupby

import pytest
from ansible.utils.helpers import pct_to_int
from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices import split
from hypothesis import given
from hypothesis import strategies as st
from refusing import refusal

HOSTS = st.integers(0, 60).map(lambda count: [f"h{number}" for number in range(1, count + 1)])
COUNTS = st.integers(1, 12)
DOMAINS = st.integers(0, 5)


def racks(hosts, count):
    return {host: f"rack{place % count}" for place, host in enumerate(hosts)} if count else {}


@given(HOSTS, COUNTS, DOMAINS)
def test_every_host_is_in_exactly_one_slice_and_slices_are_of_one_size(hosts, count, domains):
    slices = split.deal(split.by_domain(hosts, racks(hosts, domains)), count)
    split.check(slices, hosts)
    sizes = [len(each) for each in slices]
    assert max(sizes) - min(sizes) <= 1
    assert len(slices) == max(1, min(count, len(hosts)))


@given(HOSTS, COUNTS, st.integers(1, 5))
def test_a_domain_is_spread_over_all_slices_which_take_the_domains_in_one_order(hosts, count, domains):
    known = racks(hosts, domains)
    slices = split.deal(split.by_domain(hosts, known), count)
    order = list(dict.fromkeys(known.values()))
    for each in slices:
        met = [domain for domain, _run in groupby(each, key=known.__getitem__)]
        assert met == [domain for domain in order if domain in met]
    for domain in order:
        parts = [sum(known[host] == domain for host in each) for each in slices]
        assert max(parts) - min(parts) <= 1


@given(HOSTS, COUNTS, DOMAINS, st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_batches_cover_a_slice_in_its_order_and_stay_within_a_domain_and_a_share(hosts, count, domains, most):
    known = racks(hosts, domains)
    slices = dict(enumerate(split.deal(split.by_domain(hosts, known), count), start=1))
    made = split.schedule(slices, known, most)
    assert split.schedule(slices, known, most) == made
    assert made.stage.keys() == set(hosts)
    for number, own in slices.items():
        assert sum(made.serial[number]) == len(own)
        rest = list(own)
        for size in made.serial[number]:
            batch, rest = rest[:size], rest[size:]
            assert len({known.get(host) for host in batch}) == 1
            assert len({made.stage[host] for host in batch}) == 1
            assert size <= most[made.stage[batch[0]]]
    for stage, size in enumerate(most[:-1]):
        assert sum(found == stage for found in made.stage.values()) == min(size, max(0, len(hosts) - sum(most[:stage])))


def test_slices_share_the_budget_so_that_all_can_work_together():
    slices = dict(enumerate(split.deal([f"h{number}" for number in range(1, 13)], 3), start=1))
    assert split.schedule(slices, {}, [7]).serial == {1: [3, 1], 2: [2, 2], 3: [2, 2]}
    assert split.schedule(slices, {}, [1]).serial == {1: [1] * 4, 2: [1] * 4, 3: [1] * 4}
    # One host first, then six, then as many as are left.
    assert split.schedule(slices, {}, [1, 6, 12]).serial == {1: [1, 2, 1], 2: [2, 2], 3: [2, 2]}


def test_slices_and_batches_by_racks_are_those_of_the_page():
    known = {"a1": "a", "b1": "b", "a2": "a", "b2": "b", "a3": "a", "b3": "b"}
    ordered = split.by_domain(list(known), known)
    assert ordered == ["a1", "a2", "a3", "b1", "b2", "b3"]
    assert split.deal(ordered, 2) == [["a1", "a3", "b2"], ["a2", "b1", "b3"]]
    made = split.schedule({1: ["a1", "a3", "b2"], 2: ["a2", "b1", "b3"]}, known, [4])
    assert made.serial == {1: [2, 1], 2: [1, 2]}


@given(st.integers(1, 100), st.integers(1, 3000))
def test_a_percentage_is_of_the_fleet_and_counted_as_ansible_counts_it(percent, hosts):
    assert split.limits(f"{percent}%", hosts) == [pct_to_int(f"{percent}%", hosts)]


@pytest.mark.parametrize(("serial", "most"), [(3, [3]), ("3", [3]), ([1, "10%", 500], [1, 100, 500]), ("25%", [250])])
def test_the_forms_of_a_batch_size_are_numbers_of_hosts(serial, most):
    assert split.limits(serial, 1000) == most


NONE = "nothing has been changed; name each host once"


@pytest.mark.parametrize(
    ("slices", "sentence"),
    [
        ([["a", "b"], ["b", "c"]], f"b: is in two slices; {NONE}"),
        ([["a", "a", "b"], ["c"]], f"a: is in two slices; {NONE}"),
        ([["a"], ["b"]], f"c: is in no slice or in no fleet; {NONE}"),
        ([["a", "b"], ["c", "d"]], f"d: is in no slice or in no fleet; {NONE}"),
        ([["a", "b"], ["c"]], ""),
    ],
)
def test_slices_that_do_not_have_every_host_once_are_refused(slices, sentence):
    assert refusal(split.check, slices, ["a", "b", "c"]) == sentence
