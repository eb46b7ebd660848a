# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How busy, how fast and how set a server's CPUs are, from recorded files."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.evidence import cpus
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree

CPU = "sys/devices/system/cpu"
STAT = """\
cpu  1 2 3 4 5 6 7 8 9 10
cpu0 10 0 5 100 0 0 1 4 3 0
cpu1 20 1 6 200 2 1 0 6 0 0
cpu11 900 0 0 0 0 0 0 0 0 0
intr 1
"""


@pytest.fixture
def lay(tmp_path):
    def write(**files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Tree(str(tmp_path))

    return write


def test_times_are_those_of_the_named_cpus(lay, monkeypatch):
    monkeypatch.setattr(cpus, "tick_us", lambda: 10_000)
    tree = lay(**{"proc/stat": STAT})
    assert cpus.times(tree, [0, 1]) == (440_000, 100_000, 3_560_000)
    assert cpus.times(tree, [5]) is None


def test_nothing_to_read_is_nothing_known(tmp_path):
    tree = Tree(str(tmp_path))
    assert cpus.times(tree, [0]) is None
    assert cpus.mhz(tree, [0]) is None
    assert cpus.governor(tree, [0]) is None
    assert cpus.boost(tree) is None
    assert cpus.model(tree) is None


def test_clocks_come_from_cpufreq_of_at_most_sixteen_cpus(lay):
    tree = lay(**{f"{CPU}/cpu{number}/cpufreq/scaling_cur_freq": f"{2000 + number}000\n" for number in range(40)})
    assert cpus.mhz(tree, [1, 2, 3]) == [2001, 2002, 2003]
    assert cpus.mhz(tree, range(40)) == [2000, 2020, 2039]


def test_clocks_of_a_guest_come_from_cpuinfo(lay):
    text = "processor : 0\nmodel name\t: Some CPU @ 2.00GHz\ncpu MHz\t\t: 2449.998\ncpu MHz\t\t: 1500.2\n"
    tree = lay(**{"proc/cpuinfo": text})
    assert cpus.mhz(tree, [0, 1]) == [1500, 1975, 2450]
    assert cpus.model(tree) == "Some CPU @ 2.00GHz"


def test_governors_that_differ_are_all_named(lay):
    names = {0: "performance", 1: "powersave", 2: "performance"}
    tree = lay(**{f"{CPU}/cpu{number}/cpufreq/scaling_governor": f"{name}\n" for number, name in names.items()})
    assert cpus.governor(tree, [0, 2]) == "performance"
    assert cpus.governor(tree, [0, 1, 2]) == "performance+powersave"


@pytest.mark.parametrize(
    ("file", "text", "boost"),
    [
        ("intel_pstate/no_turbo", "1\n", False),
        ("intel_pstate/no_turbo", "0\n", True),
        ("cpufreq/boost", "1\n", True),
        ("cpufreq/boost", "0\n", False),
    ],
)
def test_boost(lay, file, text, boost):
    assert cpus.boost(lay(**{f"{CPU}/{file}": text})) is boost
