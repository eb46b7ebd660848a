# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of plan.yml: complete, safe, and drawn without overlaps."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import gpu_names, groups, page
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report.machine_map import machine_map
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report.picture import WIDEST, picture
from plan_report_cases import eight_sockets, gpu_box, gpu_host, hybrid_laptop, in_force, planned, small_vm
from planner_cases import instance, model

MACHINES = {
    "gpu box": gpu_box(),
    "laptop": hybrid_laptop(),
    "virtual machine": small_vm(),
    "eight sockets": eight_sockets(),
    "eight large sockets": eight_sockets(64),
    "four nodes in a socket": eight_sockets(4, nodes_per_socket=4, sparse=True, offline=[6, 8]),
}
NEVER_CLOSED = {"meta", "link", "br", "col", "wbr"}


class Reader(HTMLParser):
    """Reads a page and notes its texts, attributes and tags that are not closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in NEVER_CLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def read(hosts, **keys):
    return Reader(page.page(groups.read(hosts, **keys)))


def drawn(name):
    topology = MACHINES[name]
    return picture(machine_map(topology, planned(topology)["plan"]))


def inside(inner, outer):
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width + 0.01
        and inner.y + inner.height <= outer.y + outer.height + 0.01
    )


def apart(one, other):
    return (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )


@pytest.mark.parametrize("name", MACHINES)
def test_nothing_in_the_picture_overlaps(name):
    found = drawn(name)
    sockets = [frame for frame in found.frames if frame.kind == "socket"]
    nodes = [frame for frame in found.frames if frame.kind == "node"]
    for things in (sockets, nodes, found.chips, found.cells):
        assert all(apart(one, other) for place, one in enumerate(things) for other in things[:place])
    assert all(any(inside(cell, node) for node in nodes) for cell in found.cells)
    assert all(any(inside(node, socket) for socket in sockets) for node in nodes)
    assert all(any(inside(chip, socket) for socket in sockets) for chip in found.chips)
    assert all(apart(chip, node) for chip in found.chips for node in nodes)


@pytest.mark.parametrize("name", MACHINES)
def test_every_cpu_is_drawn_once(name):
    shown = sorted(int(re.match(r"CPU (\d+):", cell.hint)[1]) for cell in drawn(name).cells)
    assert shown == sorted(cpu["id"] for cpu in MACHINES[name]["cpus"])


@pytest.mark.parametrize("owners", [1, 2, 7])
def test_the_owners_of_a_gpu_stand_side_by_side_within_it(owners):
    topology = gpu_box()
    slices = [{"index": n, "profile": "1g.10gb", "uuid": f"MIG-{n}"} for n in range(owners)]
    topology["gpus"][0]["mig"] = {"mode": "enabled", "instances": slices}
    found = planned(topology, [instance(f"i{n}", gpus=[f"MIG-{n}"], cpus=1) for n in range(owners)])
    names = gpu_names.short_names(topology)
    chip = picture(machine_map(topology, gpu_names.renamed(found["plan"], names))).chips[0]
    assert [badge.hint for badge in chip.badges] == [f"GPU 0: i{n}" for n in range(owners)]
    assert all(inside(badge, chip) and badge.x + badge.width <= chip.text_x for badge in chip.badges)
    assert all(apart(one, other) for place, one in enumerate(chip.badges) for other in chip.badges[:place])


@pytest.mark.parametrize("name", MACHINES)
def test_every_picture_fits_the_page(name):
    assert drawn(name).width <= WIDEST


def test_the_page_shows_every_cpu_with_its_owner():
    host = gpu_host()
    hints = [text for text in read({"a": host}).texts if text.startswith("CPU ")]
    assert len(hints) == len(set(hints)) == 128
    assert "CPU 40: ranker" in hints
    assert "CPU 0: system" in hints


def test_the_page_is_whole_and_asks_for_nothing_else():
    found = read({"a": gpu_host(), "b": planned(small_vm())}, missing=["c"])
    assert found.open == []
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(found.tags)
    links = [value for name, value in found.attributes if name in ("src", "href", "xlink:href", "action")]
    assert links == ["#group-1", "#group-2"]
    assert not re.search(r"@import|url\((?!#)", "".join(found.texts))


def test_texts_from_outside_are_shown_as_they_are_and_never_run():
    evil = '<script>alert("1")</script>&amp;\'"'
    host = planned(gpu_box(), [instance(environment={"GREETING": evil})])
    host["plan"]["warnings"] = [evil]
    host["plan"]["instances"][0]["reasons"]["cpus"] = evil
    host["plan"]["instances"][0]["name"] = evil
    host["topology"]["nics"][0]["name"] = evil
    found = read({evil: host}, missing=[evil])
    assert "script" not in found.tags
    assert found.open == []
    assert "".join(found.texts).count(evil) >= 6


def test_the_page_spells_out_what_turns_text_around():
    host = planned(gpu_box(), [instance()])
    host["plan"]["warnings"] = ["\u202eabc\x1b"]
    assert r"\u202eabc\x1b" in "".join(read({"a": host}).texts)


def test_the_page_tells_what_restarts_and_what_does_not():
    before = planned(gpu_box(), [instance()], [model(version=6)])
    found = read({"a": in_force(planned(gpu_box(), [instance()], [model(version=7)]), before)})
    assert "hot reload" in found.texts
    assert "restarts" not in found.texts


def test_all_groups_are_on_one_page():
    found = read({"a1": gpu_host(1), "a2": gpu_host(2), "vm": planned(small_vm())})
    assert found.tags.count("section") == 2
    assert {"a[1:2]", "vm"} <= set(found.texts)


def test_more_instances_than_colours_differ_by_their_patterns():
    styles = [page.style(number, "") for number in range(page.TONES * page.WEAVES)]
    assert len(set(styles)) == len(styles)
    css = (page.TEMPLATES / "plan.css").read_text()
    assert all(f".{word}" in css for style in styles for word in style.split() if word != "weave-0")
