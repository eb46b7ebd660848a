# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What dkms says of the driver, as its versions 2.8 and 3.0 say it, also beside a broken module of somebody else's."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import dkms as driver_dkms
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import proof as driver_proof
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from driver_hosts import DRIVER_535, KERNEL, state

LOST = "Error! Could not locate dkms.conf file.\nFile:  does not exist.\n"


def asked(answers, stderr=None):
    """A dkms that ends at somebody else's broken module unless it is asked for one by its name."""

    def run(arguments):
        if arguments == ["dkms", "status"]:
            return 0, "", LOST
        assert arguments[:3] == ["dkms", "status", "-m"]
        return 0, answers.get(arguments[3], ""), (stderr or {}).get(arguments[3], "")

    return run


@pytest.mark.parametrize(
    ("name", "line", "version", "status"),
    [
        ("nvidia-current", f"nvidia-current, 535.261.03, {KERNEL}, x86_64: installed", "535.261.03", "installed"),
        ("nvidia-current-open", f"nvidia-current-open/550.163.01, {KERNEL}, x86_64: built", "550.163.01", "built"),
        ("nvidia-srv", f"nvidia-srv/535.309.01, {KERNEL}, x86_64: installed", "535.309.01", "installed"),
        ("nvidia-tesla-470", f"nvidia-tesla-470, 470.256.02, {KERNEL}, x86_64: built", "470.256.02", "built"),
        (
            "nvidia",
            f"nvidia/580.95.05, {KERNEL}, x86_64: installed (WARNING! Diff between built and installed module!)",
            "580.95.05",
            "installed",
        ),
        (
            "nvidia",
            f"nvidia, 470.82.01, {KERNEL}, x86_64: installed (original_module exists)",
            "470.82.01",
            "installed",
        ),
    ],
)
def test_each_form_of_a_row_is_understood_beside_a_broken_module(name, line, version, status):
    found = driver_dkms.status(asked({name: f"{line}\n"}))
    assert found == {"rows": [{"name": name, "version": version, "kernel": KERNEL, "status": status}], "words": ""}


def test_an_older_version_of_the_driver_without_its_source_hides_none_either():
    built = f"nvidia-current/535.261.03, {KERNEL}, x86_64: installed"
    gone = "Error! Could not locate dkms.conf file.\nFile: /var/lib/dkms/nvidia-current/535.216.01/source/dkms.conf"

    def run(arguments):
        if arguments[4:] == ["-v", "535.261.03"]:
            return 0, f"{built}\n", ""
        return 0, "", f"{gone} does not exist.\n"

    versions = [{"name": "nvidia-current", "version": version} for version in ("535.216.01", "535.261.03")]
    found = driver_dkms.status(run, ["nvidia-current"], versions)
    assert [(row["version"], row["status"]) for row in found["rows"]] == [("535.261.03", "installed")]
    assert found["words"].count("Error!") == 1


def test_only_the_driver_is_told_and_each_row_once():
    text = f"nvidia/580.95.05, {KERNEL}, x86_64: installed\nnvidia-fs/2.19.7, {KERNEL}, x86_64: installed\n"
    rows = driver_dkms.status(lambda _arguments: (0, text, ""))["rows"]
    assert [(row["name"], row["version"]) for row in rows] == [("nvidia", "580.95.05")]


def test_a_source_that_is_not_built_is_no_row():
    assert driver_dkms.status(asked({"nvidia": "nvidia/580.95.05: added\n"})) == {"rows": [], "words": ""}


@pytest.mark.parametrize(
    ("out", "err", "words"),
    [
        ("", LOST, "Error! Could not locate dkms.conf file. File: does not exist."),
        ("nvidia/580.95.05: broken\n", "", "nvidia/580.95.05: broken"),
        ("", "Deprecated feature: CLEAN (/var/lib/dkms/nvidia/580.95.05/source/dkms.conf)\n", ""),
        ("", f"Error! \x1b[31m{'x' * 500}\n", "Error! \\x1b[31m" + "x" * 184 + "…"),
    ],
)
def test_what_dkms_complains_of_is_kept_in_one_bounded_line(out, err, words):
    said = driver_dkms.status(asked({"nvidia": out}, {"nvidia": err}))["words"]
    assert said == words
    assert len(said) <= 200


def test_a_host_without_dkms_is_asked_once():
    calls = []

    def run(arguments):
        calls.append(arguments)
        return 127, "", "dkms: not found"

    assert driver_dkms.status(run) == {"rows": [], "words": ""}
    assert len(calls) == 1


def test_the_store_tells_under_which_names_a_driver_is_kept(tmp_path):
    for path in (
        "nvidia-current/535.261.03/source",
        f"nvidia-current/kernel-{KERNEL}-x86_64",
        "nvidia-fs/2.19.7/source",
        "acpi-call/1.2.2",
        "nvidia-legacy-390xx/390.157",
    ):
        (tmp_path / "var/lib/dkms" / path).mkdir(parents=True)
    tree = Tree(str(tmp_path))
    assert driver_dkms.names(tree) == ["nvidia-current", "nvidia-legacy-390xx"]
    assert driver_dkms.sources(tree) == [
        {"name": "nvidia-current", "version": "535.261.03"},
        {"name": "nvidia-legacy-390xx", "version": "390.157"},
    ]


def test_where_the_store_is_elsewhere_all_names_are_asked_for(tmp_path):
    assert driver_dkms.names(Tree(str(tmp_path))) == list(driver_dkms.NAMES)
    assert driver_dkms.sources(Tree(str(tmp_path))) == []


def test_the_refusal_has_dkms_own_words():
    assert driver_proof.unproven(state(dkms_words="nvidia/535.261.03: broken"), DRIVER_535) == (
        f"dkms has not built driver 535 for kernel {KERNEL} and says: nvidia/535.261.03: broken"
    )


def test_the_drivers_source_alone_is_built_and_of_several_the_libraries_version():
    sources = [{"name": "nvidia-current", "version": version} for version in ("535.216.01", "535.261.03", "470.256.02")]
    assert driver_proof.to_build(state(dkms_sources=sources), DRIVER_535) == sources[:2]
    found = state(dkms_sources=sources, library_version="535.261.03")
    assert driver_proof.to_build(found, DRIVER_535) == sources[1:2]
