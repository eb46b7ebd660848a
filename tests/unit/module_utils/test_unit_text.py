# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What enters a unit stays one value: nothing ends its line, and nothing in it means more to systemd than itself."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils import unit_text
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from planner_cases import IMAGE, box, instance, model
from planner_cases import plan as planned
from repository import REPOSITORY

ROLES = REPOSITORY / "roles"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("/usr/lib/libcuda.so.1", "/usr/lib/libcuda.so.1"),
        ("/a b", '"/a b"'),
        ("/a:b", '"/a:b"'),
        ("/50%", '"/50%%"'),
        ("/$HOME", '"/$HOME"'),
        ("/a\\", '"/a\\\\"'),
        ("/a\nExecStart=+/bin/sh", '"/a\\nExecStart=+/bin/sh"'),
        ('/a"', '"/a\\""'),
    ],
)
def test_a_path_is_quoted_for_a_list_of_mounts(text, word):
    assert unit_text.path(text) == word


def test_a_path_alone_is_never_in_quotes():
    assert unit_text.whole("/a b/50%") == "/a b/50%%"


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\x1bb", "a\\"])
@pytest.mark.parametrize("function", [unit_text.line, unit_text.whole])
def test_what_would_break_its_line_is_refused(function, text):
    with pytest.raises(WishError) as refused:
        function(text)
    assert str(refused.value) == ("unit: a value would break its line; look for a line break or a backslash at the end")


def test_libraries_that_the_host_names_oddly_are_shown_under_their_names():
    machine = {**box(2), "driver_libraries": [{"name": "lib x.so", "path": "/opt/a:b/lib x.so"}]}
    (found,) = planned(machine, [instance(gpus=1)], [model()], **IMAGE)["instances"]
    assert '"/opt/a:b/lib x.so":"/run/nvidia-driver/lib x.so"' in found["unit"]["BindReadOnlyPaths"]


# Of the collection's own making, or numbers: nothing that a user writes.
OWN = (
    "ansible_managed",
    "instance.digest",
    "arguments | join",
    "__tfserving_unit_revision",
    "__tfserving_gate_revision",
    "tfserving_plan.gate.drain_timeout_s",
    "tfserving_plan.partition",
    "slice.section",
    # Of a gateway's plan: numbers, a digest, and sentences of the planner.
    *("cache.reasons.", "cache.generation", "cache.memory_mb", "cache.spare_mb", "cache.unit_memory_mb"),
    # Words of the template's own, numbers, and an address of IP that the plan has parsed.
    *("is_nginx", "cache.store_memory_mb", "cache.store.port", "cache.store.address"),
)


def test_every_value_in_a_unit_passes_the_one_place_where_it_is_quoted():
    for path in ROLES.glob("*/templates/**/etc/systemd/**/*.j2"):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            for expression in [part.partition("}}")[0] for part in line.split("{{")[1:]]:
                passes = "tfserving.fleet." in expression or expression.strip() == "directive"
                assert passes or any(own in expression for own in OWN), f"{path}:{number}: {expression}"
