# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The module as a whole, with a dpkg-query of its own."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.modules import server_state
from running import run_module


@pytest.fixture
def dpkg_query(tmp_path, monkeypatch):
    """Have dpkg-query print what it is asked for, and end as told."""

    def install(text: str, status: int = 0) -> None:
        program = tmp_path / "dpkg-query"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >"$0".asked\nprintf "{text}"\nexit {status}\n')
        program.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return install


@pytest.mark.parametrize("check", [False, True])
def test_the_module_reads_and_changes_nothing(tmp_path, dpkg_query, check):
    dpkg_query("gnupg 2.2 install installed\\ntensorflow-model-server 2.19.1 install installed\\n", 1)
    wish = {"root": str(tmp_path / "no"), "release": str(tmp_path / "no/x@1"), "method": "apt", "version": "2.19.1"}
    result = run_module(server_state, tools=["ca-certificates", "gnupg"], _ansible_check_mode=check, **wish)
    assert (result["changed"], result["release_due"], result["missing_tools"]) == (False, True, ["ca-certificates"])
    assert result["package"] == {"due": False, "installed": True, "held": False, "rivals": []}
    assert not (tmp_path / "no").exists()
    asked = (tmp_path / "dpkg-query.asked").read_text().splitlines()
    # dpkg-query itself turns the two characters into the end of a line.
    assert asked[2].endswith("{db:Status-Status}\\n")


def test_the_module_fails_with_a_sentence(tmp_path, dpkg_query):
    dpkg_query("", 2)
    result = run_module(server_state, release=str(tmp_path / "x@1"), method="apt", version="2.19.1")
    assert result["msg"] == "dpkg-query: cannot list packages (); check dpkg's database on this host"
