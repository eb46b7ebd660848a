# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One row is all that a new type of source takes, and a type without a row is refused by whoever meets it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import plan_key
from ansible_collections.tfserving.fleet.plugins.module_utils.models import repository
from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources import table
from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources.row import Bench, Key, Obtained, Source
from ansible_collections.tfserving.fleet.plugins.module_utils.scalars import one_line
from ansible_collections.tfserving.fleet.plugins.modules import model_repository as module
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import bundle, policy, read
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import secrets as plan_secrets
from archive_files import read_tree, tar_of
from bundle_cases import artifact, artifacts, sha256, wish
from planner_cases import KEY, box, instance, model
from repository import REPOSITORY
from saved_models import MODEL

SHELF = {"type": "shelf", "uri": "shelf://top/{version}", "sha256": {"7": sha256(b"7")}, "token": "hush"}


def _check(path: str, source: dict[str, Any]) -> None:
    if not source["uri"].startswith("shelf://"):
        raise WishError(f"{path}.uri", "is no place on a shelf", "begin it with shelf://")


def shelf(folder: Path) -> Source:
    """Return a made-up type, whose archives stand in a folder and are given to whoever knows the token."""

    def obtain(bench: Bench) -> Obtained:
        if bench.request.source["token"] != "hush":
            raise RefusalError("the shelf is closed", "give its token", "source.token")
        path = folder / bench.request.uri.removeprefix("shelf://top/")
        return Obtained(str(path), bench.request.sha256, sha256(path.read_bytes()), ours=False)

    return Source(
        type="shelf",
        keys={"token": Key(one_line, {"type": "str", "no_log": True})},
        secret=("token",),
        check=_check,
        bundled=True,
        obtain=obtain,
    )


@pytest.fixture
def registered(monkeypatch, tmp_path) -> Path:
    """Register the made-up type; return the folder of its archives."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setattr(table, "SOURCES", (*table.SOURCES, shelf(folder)))
    return folder


def shelved(**changes: Any) -> dict[str, Any]:
    return model(source={**SHELF, **changes}, version=7)


def planned(given: dict[str, Any]) -> dict[str, Any]:
    return host_plan(box(0), [instance()], [given], {}, KEY)["models"][0]


def beside(given: dict[str, Any]) -> dict[str, Any]:
    settings = policy.complete({})
    return plan_secrets.secrets(read.read([instance()], [given], settings), KEY, settings)["sources"]


# --- one row ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("registered")
def test_a_wish_for_it_is_read_and_wrong_ones_are_refused():
    assert read.problems([instance()], [shelved()]) == []
    for changes, sentence in (
        ({"uri": "/srv/x"}, ".uri: is no place on a shelf; begin it with shelf://"),
        ({"token": ["hush"]}, ".token: is a list; give a text on one line"),
        ({"remote": True}, ".remote: means nothing for the type shelf; leave it out or use type path"),
        ({"type": "path", "uri": "/srv/x"}, ".token: means nothing for the type path; leave it out or use type shelf"),
        ({"type": "shelv"}, ".type: is the string 'shelv'; did you mean 'shelf'?"),
        (
            {"type": None},
            ".type: is missing; give a source its type (path or http or mlflow or s3 or shelf) and its uri",
        ),
    ):
        assert read.problems([instance()], [shelved(**changes)]) == [f"tfserving_models[0].source{sentence}"]


@pytest.mark.usefixtures("registered")
def test_the_plan_holds_no_secret_of_it_and_what_is_secret_travels_beside():
    source = planned(shelved())["source"]
    assert set(source) == {"type", "uri", "sha256", "uri_digest"}
    assert beside(shelved()) == {"ranker": {"uri": SHELF["uri"], "token": "hush"}}
    recorded = {"models": [{"name": "ranker", "source": source}]}
    assert plan_key.without_values(recorded) == recorded


@pytest.mark.usefixtures("registered")
def test_the_bundle_fetches_it_and_a_host_is_told_the_file():
    (download,) = bundle.needs({"a": wish(models=[shelved()])})["downloads"]
    assert (download["url"], download["sha256"]) == ("shelf://top/7", sha256(b"7"))
    held = artifacts(artifact(download["path"], b"7"))
    (moved,) = bundle.overrides(wish(models=[shelved()]), held, "/srv/bundle", "bookworm")["tfserving_models"]
    path = download["path"].removesuffix("/7")
    assert moved["source"] == {"type": "path", "uri": f"/srv/bundle/{path}/{{version}}", "sha256": SHELF["sha256"]}


def publish(root: Path, given: dict[str, Any], secrets: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
    defaults = {name: spec.get("default") for name, spec in module.ARGUMENTS.items()}
    me = {"owner": str(os.geteuid()), "group": str(os.getegid()), "root": str(root), "min_free_mb": 0}
    return repository.execute({**defaults, **me, "models": [given], "sources": json.dumps(secrets)}, check_mode)


def test_a_host_obtains_it_by_what_the_plan_says_and_what_travels_beside(registered, tmp_path):
    archive = tar_of(registered / "7", MODEL)
    given = shelved(sha256={"7": sha256(archive.read_bytes())})
    root = tmp_path / "models"
    would = publish(root, planned(given), beside(given), check_mode=True)
    assert not root.exists()
    done = publish(root, planned(given), beside(given))
    assert would["published"] == done["published"]
    assert read_tree(root / "ranker" / "7") == MODEL
    assert "hush" not in "".join(path.read_text() for path in (root / "ranker" / ".published").iterdir())
    assert not publish(root, planned(given), beside(given))["changed"]
    assert archive.exists()


def test_what_it_refuses_on_the_host_is_told_with_the_place_of_the_wish(registered, tmp_path):
    with pytest.raises(WishError) as refusal:
        publish(tmp_path / "models", planned(shelved()), {"ranker": {"token": "guessed"}})
    assert str(refusal.value) == (
        "tfserving_models[0].source.token: version 7 cannot be published: the shelf is closed; give its token"
    )


# --- no row ----------------------------------------------------------------------------------------------------

UNKNOWN = "tfserving_models[0].source.type: is the string 'shelf'; choose one of path, http, mlflow, s3"


def host_of(given: dict[str, Any]) -> None:
    publish(Path("/nonexistent"), {**given, "versions": [7]}, {})


@pytest.mark.parametrize(
    "meets",
    [
        lambda given: planned(given),
        lambda given: beside(given),
        lambda given: bundle.needs({"a": wish(models=[given])}),
        lambda given: bundle.overrides(wish(models=[given]), artifacts(), "/srv/bundle", "bookworm"),
        host_of,
    ],
    ids=["plan", "beside the plan", "bundle", "from the bundle", "host"],
)
def test_an_unknown_type_is_refused_by_all_that_meet_it(meets):
    with pytest.raises(WishError) as refusal:
        meets(model(source={key: value for key, value in SHELF.items() if key != "token"}, version=7))
    assert str(refusal.value) == UNKNOWN


def test_what_people_call_a_type_is_understood():
    with pytest.raises(WishError) as refusal:
        table.of({"type": "minio"})
    assert str(refusal.value) == "source.type: is the string 'minio'; did you mean 's3'?"


@pytest.mark.parametrize("value", [None, 5, ["http"], {"http": 1}, True])
def test_a_type_that_is_no_text_is_refused(value):
    with pytest.raises(WishError, match=r"; choose one of path, http, mlflow, s3$"):
        table.of({"type": value})


# --- the rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "sent", "bundled", "hidden"),
    [
        ({"type": "path", "uri": "/srv/x"}, True, False, set()),
        ({"type": "path", "uri": "/srv/x", "remote": False}, True, False, set()),
        ({"type": "path", "uri": "/srv/x", "remote": True}, False, False, set()),
        ({"type": "http", "uri": "https://h/x"}, False, True, {"uri"}),
        ({"type": "http", "uri": "https://h/x", "headers": {"A": "1"}}, False, True, {"uri", "headers"}),
        ({"type": "mlflow", "uri": "https://h", "credentials": {"token": "x"}}, True, False, {"uri", "credentials"}),
        ({"type": "s3", "uri": "s3://models/x/"}, True, False, {"uri"}),
    ],
)
def test_what_is_done_with_a_source_is_read_off_its_row(source, sent, bundled, hidden):
    row = table.of(source)
    assert (row.sent, row.bundled, table.hidden(source)) == (sent, bundled, hidden)


def test_every_type_has_its_line_in_the_page_of_the_wishes():
    page = (REPOSITORY / "docs" / "wishes.md").read_text(encoding="utf-8")
    _, section = page.split("### Sources\n", 1)
    listed = re.findall(r"^\| `(\w+)` \|", section.split("\n#", 1)[0], re.MULTILINE)
    assert listed == table.types()
