# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What template_tree lets out of files that are secret: that they are new, changed or removed, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import Rule, plan_reverted
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.diff import differences
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.options import check_options, secrecy, validator
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.tree import Outcome
from template_tree_place import Place

SECRET = Rule("app/*.env", mode=0o600, secret=True)
HIDDEN = "(content hidden: it is secret)\n"
CHANGED = "(content hidden: it is secret, and changed)\n"
OLD, NEW = b"PIN=1234\n", b"PIN=9876\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def shown(place: Place, done: Outcome, largest: int = 100) -> dict[str, tuple[str | None, str | None]]:
    """What a diff shows of the contents before and after, by path; fails where it says anything of their nature."""
    found = {}
    for difference in differences(done.plan, place.tree().host, largest):
        if isinstance(difference.get("before"), dict):
            continue
        assert set(difference) == {"before", "after", "before_header", "after_header"}
        found[difference["before_header"][len(str(place.dest)) + 1 :]] = (difference["before"], difference["after"])
    return found


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("contents", [(OLD, NEW), (b"\0" + OLD, b"\xff" + NEW), (OLD * 50, NEW * 50)])
def test_a_diff_says_only_that_a_secret_file_is_new_or_changed_or_removed(place, check, contents):
    old, new = contents
    steps = [
        (lambda check: place.present({"app/a.env": old}, SECRET, check=check), ("", HIDDEN)),
        (lambda check: place.present({"app/a.env": new}, SECRET, check=check), (HIDDEN, CHANGED)),
        (lambda check: place.absent(check=check), (HIDDEN, "")),
        (lambda check: place.reverted(check=check), ("", HIDDEN)),
    ]
    for step, expected in steps:
        assert shown(place, step(check)) == {"app/a.env": expected}
        if check:
            step(False)


def test_other_files_of_the_tree_are_shown_as_ever(place):
    done = place.present({"app/a.env": OLD, "app/plain": b"x\n"}, SECRET)
    assert shown(place, done) == {"app/a.env": ("", HIDDEN), "app/plain": ("", "x\n")}


def test_the_first_entry_that_matches_says_whether_a_file_is_secret(place):
    done = place.present({"app/a.env": OLD}, Rule("app/a.env"), SECRET)
    assert shown(place, done) == {"app/a.env": ("", OLD.decode())}


def test_owners_and_modes_of_a_secret_file_are_shown(place):
    place.present({"app/a.env": OLD}, SECRET)
    (place.dest / "app" / "a.env").chmod(0o644)
    done = place.present({"app/a.env": OLD}, SECRET)
    (difference,) = differences(done.plan, place.tree().host, 0)
    assert (difference["before"]["mode"], difference["after"]["mode"]) == ("0644", "0600")


def test_what_stood_there_before_a_secret_file_is_hidden_too_also_where_it_was_a_link(place):
    place.write({"app/a.env": OLD})
    (place.dest / "app" / "b.env").symlink_to("PIN=1234")
    done = place.present({"app/a.env": NEW, "app/b.env": NEW}, SECRET)
    assert shown(place, done) == {"app/a.env": (HIDDEN, CHANGED), "app/b.env": (HIDDEN, CHANGED)}
    assert shown(place, place.reverted()) == {"app/a.env": (HIDDEN, CHANGED), "app/b.env": (HIDDEN, CHANGED)}


# What the host remembers, when nothing tells it any more that a file is secret


def test_a_pruned_secret_file_stays_hidden_though_no_rule_speaks_of_it(place):
    place.present({"app/a.env": OLD, "app/plain": b"x"}, SECRET)
    assert shown(place, place.present({"app/plain": b"x"})) == {"app/a.env": (HIDDEN, "")}
    assert shown(place, place.reverted()) == {"app/a.env": ("", HIDDEN)}
    assert shown(place, place.absent()) == {"app/a.env": (HIDDEN, ""), "app/plain": ("x", "")}


def test_a_secret_file_that_left_the_tree_without_being_pruned_is_remembered(place):
    place.present({"app/a.env": OLD}, SECRET)
    place.present({}, prune=False)
    place.present({"app/plain": b"x"}, prune=False)
    assert shown(place, place.present({"app/plain": b"x"})) == {"app/a.env": (HIDDEN, "")}


def test_a_file_edited_by_hand_is_hidden_as_it_leaves(place):
    place.present({"app/a.env": OLD}, SECRET)
    place.write({"app/a.env": NEW})
    done = place.absent()
    assert shown(place, done) == {"app/a.env": (HIDDEN, "")}
    assert "9876" not in "".join(done.warnings)


def test_reverting_a_change_of_a_secret_file_shows_neither_content(place):
    place.present({"app/a.env": OLD}, SECRET)
    place.present({"app/a.env": NEW}, SECRET)
    assert shown(place, place.reverted()) == {"app/a.env": (HIDDEN, CHANGED)}
    assert (place.dest / "app" / "a.env").read_bytes() == OLD


def test_a_secret_stays_one_until_other_contents_that_are_none_have_replaced_it(place):
    place.present({"app/a.env": OLD}, SECRET)
    place.present({"app/a.env": OLD})
    place.present({"app/a.env": OLD}, Rule("**", mode=0o640))
    assert shown(place, place.present({"app/a.env": b"open\n"})) == {"app/a.env": (HIDDEN, CHANGED)}
    assert shown(place, place.present({"app/a.env": b"opener\n"})) == {"app/a.env": ("open\n", "opener\n")}
    assert shown(place, place.reverted()) == {"app/a.env": ("opener\n", "open\n")}


def test_a_secret_that_was_edited_by_hand_and_put_right_again_is_still_one(place):
    place.present({"app/a.env": OLD}, SECRET)
    place.write({"app/a.env": b"by hand"})
    assert shown(place, place.present({"app/a.env": OLD})) == {"app/a.env": (HIDDEN, CHANGED)}
    assert shown(place, place.absent()) == {"app/a.env": (HIDDEN, "")}


def test_a_revert_that_brings_a_secret_back_where_there_is_none_now_hides_it(place):
    place.present({"app/a.env": OLD}, SECRET)
    place.present({"app/a.env": b"open\n"})
    assert shown(place, place.reverted()) == {"app/a.env": (HIDDEN, CHANGED)}
    assert shown(place, place.absent()) == {"app/a.env": (HIDDEN, "")}


def test_contents_from_before_a_file_was_called_secret_stay_hidden_once_a_revert_brought_them_back(place):
    place.present({"app/a.env": OLD})
    place.present({"app/a.env": NEW}, SECRET)
    place.reverted()
    assert shown(place, place.absent()) == {"app/a.env": (HIDDEN, "")}


def test_calling_a_file_secret_is_remembered_though_nothing_else_changes(place):
    place.present({"app/a.env": OLD})
    assert place.present({"app/a.env": OLD}, Rule("**", secret=True)).changed is False
    assert shown(place, place.reverted(check=True)) == {"app/a.env": (HIDDEN, "")}
    assert shown(place, place.absent()) == {"app/a.env": (HIDDEN, "")}


def _as_by_an_older_release(place: Place) -> None:
    """Take out of the record what releases without secrets did not write."""
    path = place.state / "t" / "manifest.json"
    record = json.loads(path.read_text())
    for known in (*record["files"].values(), *record["previous"]["files"].values(), *record["steps"]["changes"]):
        known.pop("secret", None)
    path.write_text(json.dumps(record))


def test_a_record_of_an_older_release_is_read_and_its_files_are_shown(place):
    place.present({"app/a.env": OLD}, SECRET)
    _as_by_an_older_release(place)
    assert shown(place, place.reverted(check=True)) == {"app/a.env": (OLD.decode(), "")}
    assert shown(place, place.absent()) == {"app/a.env": (OLD.decode(), "")}


def test_what_the_task_itself_calls_secret_is_hidden_whatever_the_record_says(place):
    place.present({"app/a.env": OLD}, SECRET)
    _as_by_an_older_release(place)
    assert shown(place, place.present({}, SECRET, check=True)) == {"app/a.env": (HIDDEN, "")}
    rules = secrecy([{"pattern": "app/*.env", "owner": "nobody-has-this-name", "secret": True}])
    tree = place.tree()
    done = tree.run(
        lambda host, manifest: plan_reverted(host, manifest, tree.kept, rules), lambda path, staged, secret: None
    )
    assert shown(place, done) == {"app/a.env": (HIDDEN, "")}


def test_a_record_without_secrets_has_the_shape_that_older_releases_wrote(place):
    place.present({"app/plain": b"x"}, SECRET)
    assert '"secret"' not in (place.state / "t" / "manifest.json").read_text()


# Validators


def _refused(place: Place, contents: bytes, *rules: Rule) -> str:
    def execute(command: list[str]) -> tuple[int, str]:
        return 3, Path(command[1]).read_text()

    checks = [{"pattern": "**", "command": "verify %s"}]
    with pytest.raises(WishError) as refusal:
        place.present({"app/a.env": contents}, *rules, validate=validator(checks, place.tree().host.path, execute))
    return str(refusal.value).replace(str(place.dest), "")


def test_what_a_validator_prints_of_a_secret_file_is_not_repeated(place):
    assert _refused(place, OLD, SECRET) == (
        "/app/a.env: 'verify %s' refuses it with status 3: what it printed is hidden, for the file is secret; "
        "nothing was changed"
    )
    assert "PIN=1234" in _refused(place, OLD)


# The option


@pytest.mark.parametrize(
    ("value", "secret"), [(True, True), ("yes", True), (False, False), ("no", False), (None, False)]
)
def test_every_spelling_of_a_boolean_is_taken(value, secret):
    option = {"pattern": "a", "secret": value}
    check_options({"name": "t", "exclude": [], "validate": [], "attributes": [option]})
    assert secrecy([option]).secret("a") is secret


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("maybe", "the string 'maybe'"),
        (2, "the number 2"),
        ([True], "a list"),
        ({}, "a mapping"),
        ("", "the string ''"),
    ],
)
def test_anything_but_a_boolean_is_refused_with_its_place(value, said):
    attributes = [{"pattern": "a"}, {"pattern": "b", "secret": value}]
    with pytest.raises(WishError) as refusal:
        check_options({"name": "t", "exclude": [], "validate": [], "attributes": attributes})
    assert str(refusal.value) == f"attributes[1].secret: {said} is not a boolean; write true or false"
