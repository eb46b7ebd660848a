# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An entry of a map is changed in the file and in the process, or in neither."""

from __future__ import annotations

from functools import partial

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import maps, runtime
from ansible_collections.tfserving.fleet.plugins.modules import gateway_state
from running import run_module


@pytest.fixture
def ask(gateway):
    return partial(runtime.ask, gateway.socket)


def running(ask, place) -> dict[str, str]:
    return runtime.entries(ask(f"show map {place.map}"), str(place.map))


def test_entries_are_changed_in_both_places_and_others_stay(ask, place):
    path = str(place.map)
    changed = maps.put({path: {"ranker": 100, "dense": 5}}, ask)
    assert changed == {
        path: {
            "ranker": {"file": "0", "running": "0", "wanted": "100"},
            "dense": {"file": None, "running": None, "wanted": "5"},
        }
    }
    assert place.map.read_text() == "# The shares of canaries.\nranker 100\nwide 50\ndense 5\n"
    assert running(ask, place) == {"ranker": "100", "wide": "50", "dense": "5"}
    assert maps.put({path: {"ranker": 100, "dense": 5}}, ask) == {}


def test_a_reload_keeps_what_was_set(gateway, ask, place):
    before = runtime.info(ask("show info"))["Pid"]
    maps.put({str(place.map): {"ranker": 250}}, ask)
    gateway.reload()
    while runtime.info(ask("show info"))["Pid"] == before:
        gateway.awaited()
    assert running(ask, place)["ranker"] == "250"


def test_what_only_the_process_or_only_the_file_has_is_brought_together(ask, place):
    ask(f"set map {place.map} ranker 7")
    assert list(maps.put({str(place.map): {"ranker": 0}}, ask)) == [str(place.map)]
    assert running(ask, place)["ranker"] == "0"
    place.map.write_text("ranker 9\nwide 50\n")
    maps.put({str(place.map): {"ranker": 0}}, ask)
    assert place.map.read_text() == "ranker 0\nwide 50\n"


def test_check_mode_says_what_differs_and_changes_nothing(ask, place):
    text = place.map.read_text()
    assert maps.put({str(place.map): {"ranker": 1}}, ask, check_mode=True)
    assert (place.map.read_text(), running(ask, place)["ranker"]) == (text, "0")


def test_the_file_keeps_its_mode(ask, place):
    place.map.chmod(0o640)
    maps.put({str(place.map): {"ranker": 1}}, ask)
    assert place.map.stat().st_mode & 0o777 == 0o640


def test_the_file_is_as_before_where_haproxy_does_not_take_a_value(ask, place):
    text = place.map.read_text()

    def deaf(command: str) -> str:
        return "Permission denied\n" if command.startswith("set") else ask(command)

    with pytest.raises(RuntimeError, match=r"canary\.map: HAProxy does not take ranker \(Permission denied\)$"):
        maps.put({str(place.map): {"ranker": 1}}, deaf)
    assert place.map.read_text() == text


def test_the_file_is_as_before_where_haproxy_forgets_what_it_was_told(ask, place):
    text = place.map.read_text()

    def forgetful(command: str) -> str:
        return "\n" if command.startswith("set") else ask(command)

    with pytest.raises(RuntimeError, match=r"canary\.map: HAProxy has not kept ranker as it was told$"):
        maps.put({str(place.map): {"ranker": 1}}, forgetful)
    assert place.map.read_text() == text


def test_a_map_that_is_missing_is_refused(ask, place):
    place.map.unlink()
    with pytest.raises(WishError) as caught:
        maps.put({str(place.map): {"ranker": 1}}, ask)
    assert str(caught.value) == (
        f"{place.map}: the map cannot be read (No such file or directory); apply the gateway with playbooks/gateway.yml"
    )


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"canary.map": {}}, "maps: holds a key that is no path of a map; write the map's path on the host"),
        ({"/a b": {}}, "maps: holds a key that is no path of a map; write the map's path on the host"),
        ({"/a": ["ranker"]}, "maps./a: is no mapping; write entries as KEY: VALUE"),
        ({"/a": {"ranker": "5; shutdown frontend rest"}}, None),
        ({"/a": {"ran\nker": 5}}, None),
        ({"/a": {"": 5}}, None),
    ],
)
def test_what_haproxy_would_take_for_something_else_is_refused(wanted, sentence):
    with pytest.raises(WishError) as caught:
        maps.check(wanted)
    assert str(caught.value) == (
        sentence or "maps./a: holds an entry that HAProxy would not take as two words; use A-Z a-z 0-9 ._:/@+=-"
    )


def test_the_first_entry_of_a_key_counts_and_is_the_one_that_is_changed():
    text = "a 1\n  a 2\n\n#a 3\n"
    assert maps.in_file(text) == {"a": "1"}
    assert maps.in_file(maps.with_entries(text, {"a": "5"})) == {"a": "5"}


def test_the_module_sets_a_map_and_says_what_it_was(gateway, place, monkeypatch):
    monkeypatch.setattr(gateway_state, "runner", lambda _module: gateway.run)
    wish = {"maps": {str(place.map): {"wide": 0}}, "socket": gateway.socket, "master_socket": gateway.master_socket}
    found = run_module(gateway_state, _ansible_check_mode=True, **wish)
    assert (found["changed"], running(partial(runtime.ask, gateway.socket), place)["wide"]) == (True, "50")
    found = run_module(gateway_state, **wish)
    assert found["changed_maps"] == {str(place.map): {"wide": {"file": "50", "running": "50", "wanted": "0"}}}
    assert run_module(gateway_state, **wish)["changed"] is False
