# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What template_tree makes of its options: patterns, names, modes, accounts, validators and the parcel of files."""

from __future__ import annotations

import os
import pwd

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import (
    NOBODY_YET,
    Change,
    Plan,
    Rendered,
    Rule,
    Rules,
    matcher,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.diff import differences
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.files import ABSENT, Host, Seen
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.options import (
    check_options,
    pack,
    rules,
    unpack,
    validator,
)
from hypothesis import given
from hypothesis import strategies as st

OPTIONS = {"name": "t", "exclude": [], "validate": [], "attributes": []}


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("etc/app", ["etc/app"], ["etc/apps", "x/etc/app"]),
        ("etc/*", ["etc/a", "etc/.b"], ["etc/a/b", "etc"]),
        ("etc/**", ["etc/a", "etc/a/b"], ["etc", "etcetera"]),
        ("**", ["a", "a/b/c"], []),
        ("**/*.conf", ["a.conf", "x/y/b.conf"], ["a.conf/x"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["az", "a/b"]),
        ("a?c", ["abc"], ["a/c", "ac"]),
        ("a[bc]d", ["abd", "acd"], ["aed", "a/d"]),
        ("a[!bc]d", ["aed"], ["abd", "a/d"]),
        ("a.c+(d)", ["a.c+(d)"], ["abc+(d)"]),
        ("un[closed", ["un[closed"], ["unc"]),
    ],
)
def test_a_pattern_matches_these_paths_and_not_those(pattern, matching, others):
    matches = matcher(pattern)
    assert [path for path in [*matching, *others] if matches(path)] == matching


def test_the_first_rule_that_matches_counts_and_no_other():
    some = Rules((Rule("etc/a", mode=0o600), Rule("etc/**", uid=5, mode=0o640)), 0, 0)
    assert some.file("etc/a", b"") == Seen("file", b"", 0o600, 0, 0)
    assert some.file("etc/b", b"") == Seen("file", b"", 0o640, 5, 0)
    assert some.file("usr/b", b"") == Seen("file", b"", 0o644, 0, 0)


def test_a_pattern_for_all_below_a_directory_means_the_trees_own_directory_as_well():
    some = Rules((Rule("etc/app/**", gid=7, directory_mode=0o750),), 0, 0)
    assert some.directory("etc/app") == Seen("directory", b"", 0o750, 0, 7)
    assert some.directory("etc") == Seen("directory", b"", 0o755, 0, 0)
    assert some.foreign_directory("etc/app") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"name": "../x"},
            "name: the string '../x' cannot name a directory of the state; use at most 64 characters: letters, digits "
            "and _ . -, a letter or digit first",
        ),
        (
            {"exclude": ["[z-a]"]},
            "exclude[0]: the string '[z-a]' is not a pattern (bad character range z-a at position 6); correct its "
            "brackets",
        ),
        ({"exclude": ["/etc"]}, "exclude[0]: the string '/etc' matches no file; leave out the leading /"),
        (
            {"attributes": [{"pattern": "**", "mode": 420}]},
            "attributes[0].mode: the number 420 is not a mode; write it in octal and in quotes, such as '0644'",
        ),
        (
            {"attributes": [{"pattern": "**", "directory_mode": "u=rwx"}]},
            "attributes[0].directory_mode: the string 'u=rwx' is not a mode; write it in octal and in quotes, such as "
            "'0644'",
        ),
        (
            {"validate": [{"pattern": "*", "command": "true"}]},
            "validate[0].command: the string 'true' does not name the file; put %s where the file's path belongs",
        ),
        (
            {"validate": [{"pattern": "*", "command": "sh -c 'x %s"}]},
            'validate[0].command: the string "sh -c \'x %s" is not a command (No closing quotation); close its quotes',
        ),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_sentence(change, message):
    with pytest.raises(WishError) as refusal:
        check_options({**OPTIONS, **change})
    assert str(refusal.value) == message


def test_an_unknown_account_is_refused_but_awaited_in_check_mode():
    asked = [{"pattern": "**", "owner": "nobody-has-this-name", "group": "0"}]
    message = "attributes[0].owner: the host has no account 'nobody-has-this-name'; let an earlier task create it"
    with pytest.raises(WishError) as refusal:
        rules(asked)
    assert str(refusal.value) == message
    expected: list[str] = []
    assert rules(asked, expected).rules == (Rule("**", uid=NOBODY_YET, gid=0),)
    assert expected == [message]


def test_accounts_are_taken_by_name_and_by_number():
    me = pwd.getpwuid(os.geteuid()).pw_name
    found = rules([{"pattern": "a", "owner": me}, {"pattern": "b", "owner": "1234", "mode": "0600"}]).rules
    assert found == (Rule("a", uid=os.geteuid()), Rule("b", uid=1234, mode=0o600))


# Validators


def test_a_validator_gets_the_staged_path_and_its_words_come_back_with_the_destination():
    ran = []

    def execute(command):
        ran.append(command)
        return 3, "/stage/a.service:4: nonsense\n"

    checks = [{"pattern": "*.service", "command": "verify '--on=%s' x"}]
    validate = validator(checks, lambda path: "/etc/" + path, execute)
    validate("a.timer", "/stage/a.timer", False)
    with pytest.raises(WishError) as refusal:
        validate("a.service", "/stage/a.service", False)
    assert ran == [["verify", "--on=/stage/a.service", "x"]]
    assert str(refusal.value) == (
        "/etc/a.service: 'verify '--on=%s' x' refuses it with status 3: /etc/a.service:4: nonsense"
    )


def test_a_validator_that_is_not_installed_refuses():
    def execute(command):
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(WishError) as refusal:
        validator([{"pattern": "*", "command": "gone %s"}], str, execute)("a", "/stage/a", True)
    assert str(refusal.value) == "a: 'gone %s' refuses it with status 127: gone: No such file or directory"


# The parcel


@given(st.dictionaries(st.text(min_size=1), st.binary()))
def test_a_parcel_arrives_byte_by_byte(files):
    rendered = {path: Rendered(content, path + ".j2", {"instance": "a"}) for path, content in files.items()}
    parcel = pack(rendered, ["instance"])
    assert parcel.isascii()
    assert unpack(parcel) == (rendered, ["instance"])


# Diffs


def _diff(before: Seen, after: Seen, largest: int = 100) -> list[dict]:
    return differences(Plan([Change("a", before, after, source="a.j2")]), Host("/d"), largest)


def test_a_diff_shows_contents_and_attributes_apart():
    before, after = Seen("file", b"old\n", 0o644, 0, 0), Seen("file", b"new\n", 0o600, -1, 0)
    content, attributes = _diff(before, after)
    assert content == {"before_header": "/d/a", "after_header": "a.j2", "before": "old\n", "after": "new\n"}
    assert (attributes["before"], attributes["after"]) == (
        {"path": "/d/a", "mode": "0644"},
        {"path": "/d/a", "mode": "0600"},
    )
    assert attributes["before_header"] == attributes["after_header"] == "/d/a (file attributes)"


def test_a_diff_of_an_account_to_come_says_so():
    _content, attributes = _diff(Seen("file", b"1", 0o644, 0, 0), Seen("file", b"2", 0o644, NOBODY_YET, 0))
    assert (attributes["before"]["owner"], attributes["after"]["owner"]) == ("root", "not there yet")


@pytest.mark.parametrize("binary", [b"\0", b"\xff\xfe"])
def test_a_diff_names_binary_and_large_contents_instead_of_showing_them(binary):
    (created,) = _diff(ABSENT, Seen("file", binary))
    assert (created["before"], created["src_binary"], "after" in created) == ("", 1, False)
    (removed,) = _diff(Seen("file", b"x" * 101), ABSENT)
    assert (removed["dst_larger"], removed["after"], "before" in removed) == (100, "", False)
    assert removed["after_header"] == "/d/a (removed)"
    assert "dst_larger" not in _diff(Seen("file", b"x" * 101), ABSENT, largest=0)[0]
