# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The module as a whole: what a run publishes, removes, refuses and leaves alone."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models import repository
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers import manifest as manifests
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers.incoming import Incoming
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import Store
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.check import Demands
from ansible_collections.tfserving.fleet.plugins.modules import model_repository as module
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models import parcels
from archive_files import read_tree, tar_of, write_tree, zip_of
from http_double import Server
from killed import run_until_killed
from ports import free_port
from saved_models import FLOAT, FROZEN, INDEX, MODEL, SHARD, index, model_pb


class Host:
    """A host's model directory, and runs of the module against it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *models: dict[str, object], check: bool = False, **options: object) -> dict[str, object]:
        defaults = {name: spec.get("default") for name, spec in module.ARGUMENTS.items()}
        me = {"owner": str(os.geteuid()), "group": str(os.getegid())}
        params = {**defaults, **me, "root": str(self.root), "min_free_mb": 0, "models": list(models), **options}
        return repository.execute(params, check)

    def refusal(self, *models: dict[str, object], **options: object) -> str:
        with pytest.raises(WishError) as refusal:
            self.run(*models, **options)
        return str(refusal.value)

    def files(self) -> dict[str, bytes]:
        return read_tree(self.root) if self.root.exists() else {}

    def version(self, number: int, name: str = "ranker") -> dict[str, bytes]:
        return read_tree(self.root / name / str(number))

    def put_by_hand(self, *versions: int, name: str = "ranker") -> None:
        for version in versions:
            write_tree(self.root / name / str(version), MODEL)


@pytest.fixture
def host(tmp_path) -> Host:
    return Host(tmp_path / "host" / "models")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def archive(tmp_path) -> Path:
    return tar_of(tmp_path / "ranker.tar.gz", MODEL)


def ranker(uri: object, *versions: int, kind: str = "path", name: str = "ranker", **more: object) -> dict[str, object]:
    source = {"type": kind, "uri": str(uri), "remote": kind == "path", **more.pop("source", {})}
    return {"name": name, "versions": list(versions or (7,)), "source": source, **more}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- publishing ----------------------------------------------------------------------------------------------


def test_an_archive_on_the_host_is_published_once(host, archive):
    wish = ranker(archive, source={"sha256": digest(archive)})
    first = host.run(wish)
    assert first["changed"]
    assert first["published"] == [{"model": "ranker", "version": 7, "sha256": digest(archive)}]
    assert first["models"] == {"ranker": [7]}
    assert (first["diff"]["before"], first["diff"]["after"]) == ("ranker: none\n", "ranker: 7\n")
    assert host.version(7) == MODEL
    before = {path: path.stat().st_mtime_ns for path in host.root.rglob("*")}
    second = host.run(wish)
    assert (second["changed"], second["published"], second["notes"]) == (False, [], [])
    assert {path: path.stat().st_mtime_ns for path in host.root.rglob("*")} == before
    assert archive.exists()


def test_a_directory_on_the_host_is_published_under_the_digest_of_its_listing(host, tmp_path):
    source = write_tree(tmp_path / "export", MODEL)
    wished = archives.directory_digest(str(source))
    result = host.run(ranker(source, source={"sha256": wished}))
    assert result["published"] == [{"model": "ranker", "version": 7, "sha256": wished}]
    assert host.version(7) == MODEL


def test_versions_are_fetched_over_http_with_the_headers_of_all_and_of_each(host, server, tmp_path):
    sums = {}
    for version in (6, 7):
        packed = zip_of(tmp_path / "a", {**MODEL, "assets/version": str(version).encode()})
        server.answers[f"/{version}.zip"] = (200, {}, packed.read_bytes())
        sums[str(version)] = digest(packed)
    source = {"sha256": sums, "headers": {"X-Each": 1}}
    wish = ranker(f"{server.url}/{{version}}.zip?token=hush", 6, 7, kind="http", source=source)
    result = host.run(wish, headers={"X-All": "2"})
    assert [one["sha256"] for one in result["published"]] == [sums["6"], sums["7"]]
    assert host.version(6)["assets/version"] == b"6"
    assert {(headers["X-Each"], headers["X-All"]) for _path, headers in server.requests} == {("1", "2")}
    markers = [content for path, content in host.files().items() if ".published" in path]
    assert len(markers) == 2
    assert not any(b"hush" in marker for marker in markers)


def test_an_unchecked_download_is_noted_with_its_checksum(host, server, archive):
    server.answers["/7.tar.gz"] = (200, {}, archive.read_bytes())
    result = host.run(ranker(f"{server.url}/7.tar.gz", kind="http"))
    assert result["notes"] == [f"ranker: version 7 was fetched unchecked, its sha256 is {digest(archive)}"]


def test_a_base_path_is_made_even_for_a_model_that_wants_no_version(host):
    result = host.run({**ranker("/nowhere"), "versions": []})
    assert result["changed"]
    assert (host.root / "ranker").is_dir()


def test_a_base_path_that_the_server_could_not_list_is_put_right(host, archive):
    host.run(ranker(archive))
    (host.root / "ranker").chmod(0o700)
    assert host.run(ranker(archive), check=True)["changed"]
    assert host.run(ranker(archive))["changed"]
    assert (host.root / "ranker").stat().st_mode & 0o777 == 0o755
    assert not host.run(ranker(archive))["changed"]


def test_what_dead_runs_have_left_goes_away(host, archive):
    host.run(ranker(archive))
    before = host.files()
    write_tree(host.root / "ranker", {".staging-8-x/tree/saved_model.pb": b"", ".deleted-3-y/tree/saved_model.pb": b""})
    write_tree(host.root / "ranker", {".published/3.json": b"{}", ".published/.7-z": b""})
    assert host.run(ranker(archive), check=True)["changed"]
    assert host.run(ranker(archive))["changed"]
    assert host.files() == before
    assert not host.run(ranker(archive))["changed"]


def test_wherever_a_run_dies_the_server_finds_whole_versions_and_the_next_run_completes(tmp_path, archive):
    at, died = 0, True
    while died:
        at += 2
        host = Host(tmp_path / str(at))
        died = run_until_killed(lambda host=host: host.run(ranker(archive)), at)
        published = sorted(path.name for path in (host.root / "ranker").glob("[0-9]*"))
        assert published in ([], ["7"])
        assert not published or host.version(7) == MODEL
        host.run(ranker(archive))
        assert host.version(7) == MODEL
        assert sorted(os.listdir(host.root / "ranker")) == [".published", "7"]
    assert at > 40


# --- check mode ----------------------------------------------------------------------------------------------


def test_check_mode_tells_what_would_happen_and_does_nothing(host, server, archive):
    host.put_by_hand(1, 2, 3)
    before = host.files()
    wish = ranker(f"{server.url}/7.tar.gz", kind="http", keep=2, source={"sha256": digest(archive)})
    told = host.run(wish, check=True)
    assert host.files() == before
    assert server.requests == []
    server.answers["/7.tar.gz"] = (200, {}, archive.read_bytes())
    done = host.run(wish)
    assert {**told, "notes": []} == {**done, "notes": []}
    assert done["removed"] == [{"model": "ranker", "version": 1}, {"model": "ranker", "version": 2}]
    assert done["models"] == {"ranker": [3, 7]}


def test_check_mode_on_an_empty_host_makes_no_directory(host, archive):
    assert host.run(ranker(archive), check=True)["models"] == {"ranker": [7]}
    assert not host.root.parent.exists()


def test_check_mode_refuses_a_source_on_the_host_that_a_run_would_refuse(host, tmp_path):
    source = write_tree(tmp_path / "export", {"saved_model.pb": b"x"})
    assert host.refusal(ranker(source), check=True) == host.refusal(ranker(source))


# --- refusals ------------------------------------------------------------------------------------------------


def test_a_wrong_checksum_is_refused_whatever_the_kind_of_source(host, server, archive, tmp_path):
    server.answers["/7.tar.gz"] = (200, {}, archive.read_bytes())
    tree = write_tree(tmp_path / "export", MODEL)
    found = {archive: digest(archive), f"{server.url}/7.tar.gz": digest(archive)}
    found[tree] = archives.directory_digest(str(tree))
    for uri, actual in found.items():
        kind = "http" if "http" in str(uri) else "path"
        assert host.refusal(ranker(uri, kind=kind, source={"sha256": "0" * 64})) == (
            "tfserving_models[0].source.sha256: version 7 cannot be published: its checksum is "
            f"{actual}, not the wished {'0' * 64}; check what changed the source, or correct the wish"
        )
    assert list(host.files()) == [".lock"]


def test_a_source_that_is_not_on_the_host_is_refused(host):
    assert host.refusal(ranker("/nowhere")) == (
        "tfserving_models[0].source.uri: version 7 cannot be published: /nowhere is not on this host; "
        "put it there, or leave out remote to send it"
    )


def test_one_source_that_fails_leaves_the_host_as_it_was_for_all_models(host, archive, tmp_path):
    broken = tar_of(tmp_path / "broken", {"saved_model.pb": MODEL["saved_model.pb"]})
    host.run(ranker(archive, 6))
    before = host.files()
    message = host.refusal(ranker(archive, 7), ranker(broken, 1, name="other"))
    assert message == (
        "tfserving_models[1].source: version 1 cannot be published: its graph has variables and "
        "variables/variables.index is missing; give the whole SavedModel, not saved_model.pb alone"
    )
    assert host.files() == before
    assert sorted(os.listdir(host.root / "ranker")) == [".published", "6"]
    assert not (host.root / "other").exists()


def test_wishes_are_refused_before_anything_is_fetched(host, server, archive):
    server.answers["/7.tar.gz"] = (200, {}, archive.read_bytes())
    good = ranker(f"{server.url}/7.tar.gz", kind="http")
    message = host.refusal(good, ranker(archive, 5, 6, provided=[6], name="b"), ranker("/x", 1, 2, name="c"))
    assert "tfserving_models[1].versions: version 5 is not on this host" in message
    assert "tfserving_models[2].versions: version 1 is not on this host" in message
    assert server.requests == []
    assert not host.root.exists()


@pytest.mark.parametrize("text", ["hush", "[]", '{"ranker": "hush"}', "[" * 100_000])
def test_what_travels_beside_the_plan_is_refused_in_any_other_shape_and_not_shown(host, archive, text):
    assert host.refusal(ranker(archive), sources=text) == (
        "sources: is not the JSON text of a mapping for each model; "
        "give what the action host_plan returns as secrets.sources, through to_json"
    )


@pytest.mark.parametrize(
    ("beside", "sentence"),
    [
        ('{"uri": 5}', ".uri: is a number; give a text on one line"),
        ('{"uri": "http://u:hush"}', ".uri: is not a web address; begin it with https://HOST/ or http://HOST/"),
        ('{"headers": "hush"}', ".headers: is a string; give a mapping of names to values"),
        ('{"headers": {"X": ["hush"]}}', ".headers.X: is a list; give a text on one line"),
        ('{"type": "hush://"}', ".type: is a string; choose one of path, http, mlflow, s3"),
    ],
)
def test_what_travels_beside_the_plan_is_checked_like_the_plan(host, beside, sentence):
    wish = ranker("https://h/x", kind="http")
    assert host.refusal(wish, sources=f'{{"ranker": {beside}}}') == f"tfserving_models[0].source{sentence}"


def test_an_unknown_owner_is_refused(host, archive):
    message = "owner: nobody-of-that-name is not on this host; create it first, or name another"
    assert host.refusal(ranker(archive), owner="nobody-of-that-name") == message


def test_an_owner_that_comes_and_goes_with_a_service_is_refused(host, archive):
    message = (
        "owner: 61500 is lent by systemd to a service while it runs, and to another one later (id 61500);"
        " name one that is there to stay"
    )
    assert host.refusal(ranker(archive), owner="61500") == message


@pytest.mark.parametrize("mode", ["rwx", "0999", "4755", "755 "])
def test_a_mode_that_is_none_is_refused(host, archive, mode):
    message = f"file_mode: {mode!r} is not a mode; write three octal digits in quotes, such as '0755'"
    assert host.refusal(ranker(archive), file_mode=mode) == message


# --- models that only look whole ---------------------------------------------------------------------------

GRAPH = "saved_model.pb"
LARGE = {**MODEL, GRAPH: model_pb(ops=["Placeholder", "VarHandleOp", *["Const"] * 1000])}
NO_MODEL = [
    ({**LARGE, GRAPH: LARGE[GRAPH][: len(LARGE[GRAPH]) // 2]}, r"its saved_model.pb is damaged \(.*\); export or copy"),
    ({**MODEL, GRAPH: b"<html>Not Found</html>"}, r"its saved_model.pb is damaged \(.*\); export or copy"),
    ({**MODEL, GRAPH: bytes(4096)}, r"its saved_model.pb is damaged \(impossible field number at byte 1\)"),
    ({**MODEL, GRAPH: b"\x08\x01"}, r"its saved_model.pb is damaged \(it holds no graph\)"),
    ({**MODEL, SHARD: b""}, r"its variables/variables.data-00000-of-00001 has 0 bytes and variables/variables.index "),
    ({**MODEL, SHARD: MODEL[SHARD][:-1]}, r"has 699 bytes and variables/variables.index needs 700 of it; export"),
    ({**MODEL, INDEX: MODEL[INDEX][:-1]}, r"its variables/variables.index is damaged \(it does not end as one does\)"),
    ({**MODEL, INDEX: index([(1, 0, 1)], shards=2)}, r"it lacks variables/variables.data-00001-of-00002; "),
    ({**MODEL, GRAPH: model_pb(tags=["train"])}, r"has no graph with the tags that the server loads, serve \(tags "),
    ({**MODEL, GRAPH: model_pb(tags=["serve", "gpu"])}, r"loads, serve \(tags in it: gpu, serve\); export it "),
    ({**MODEL, GRAPH: model_pb(assets=["words"])}, r"it lacks assets/words, which its graph names; give "),
    ({"model.tflite": b"x"}, r"it is a TensorFlow Lite model, which this collection does not publish; give the SavedM"),
]


@pytest.mark.parametrize(("files", "message"), NO_MODEL, ids=[message for _files, message in NO_MODEL])
def test_what_no_server_could_load_is_refused_before_it_appears(host, tmp_path, files, message):
    for source in (write_tree(tmp_path / "export", files), tar_of(tmp_path / "a.tar", files, "w")):
        for check in (True, False):
            with pytest.raises(WishError, match=rf"^tfserving_models\[0\].source: version 7 cannot .*{message}"):
                host.run(ranker(source), check=check)
        assert set(host.files()) <= {".lock"}
        with pytest.raises(RefusalError, match=message):
            parcels.prepare(str(source), str(tmp_path), False, Demands())


@pytest.mark.parametrize(
    "files",
    [FROZEN, {**FROZEN, GRAPH: model_pb(ops=["Const"])}, {**FROZEN, GRAPH: model_pb(saver=False)}],
    ids=["frozen", "nothing to restore", "initialised by the graph itself"],
)
def test_a_graph_without_variables_needs_no_directory_of_them(host, tmp_path, files):
    host.run(ranker(tar_of(tmp_path / "a", files)))
    assert host.version(7) == files


def test_instances_may_load_other_tags(host, tmp_path):
    source = write_tree(tmp_path / "export", {**MODEL, GRAPH: model_pb(tags=["serve", "gpu"])})
    mine = [{**one, "flags": {"saved_model_tags": "gpu,serve"}} for one in serving(None)]
    assert host.run(ranker(source), instances=mine)["models"] == {"ranker": [7]}


# --- contract and batches ------------------------------------------------------------------------------------

KEPT = {"inputs": {"x": {"dtype": "DT_FLOAT", "shape": [-1, 3]}}, "outputs": {"y": {"dtype": "DT_FLOAT"}}}
BROKEN_CONTRACT = (
    "it departs from the contract: input x is DT_FLOAT [-1, 3] and not DT_FLOAT [-1, 4]; "
    "export a model that keeps it, or correct the contract"
)


def test_a_version_that_departs_from_its_contract_is_not_published(host, archive):
    contract = {"inputs": {"x": {"shape": [-1, 4]}}}
    for check in (True, False):
        message = host.refusal(ranker(archive, contract=contract)) if not check else None
        if check:
            with pytest.raises(WishError) as refusal:
                host.run(ranker(archive, contract=contract), check=True)
            message = str(refusal.value)
        assert message == f"tfserving_models[0].contract: version 7 cannot be published: {BROKEN_CONTRACT}"
    assert set(host.files()) <= {".lock"}
    assert host.run(ranker(archive, contract=KEPT))["models"] == {"ranker": [7]}


def test_a_version_on_the_host_that_departs_from_its_contract_is_refused_where_it_would_be_served(host, archive):
    host.run(ranker(archive, 6))
    contract = {"inputs": {"x": {"shape": [-1, 4]}}}
    wish = ranker(archive, 6, contract=contract)
    message = f"tfserving_models[0].contract: version 6 on this host cannot be served: {BROKEN_CONTRACT}"
    assert host.refusal(wish, instances=serving(None)) == message


SCALAR = model_pb({"n": (FLOAT, [])})
NO_BATCHES = (
    "it cannot be served in batches, which instance i0 forms: input n of signature serving_default is a scalar; "
    "write batching: {enabled: false} for i0 in tfserving_instances, or export it with a free first dimension"
)


def batching(*ports: int | None) -> list[dict[str, object]]:
    return [{**one, "flags": {"enable_batching": True}} for one in serving(*ports)]


def test_a_model_that_cannot_be_batched_is_refused_where_an_instance_forms_batches(host, tmp_path):
    source = write_tree(tmp_path / "export", {**MODEL, GRAPH: SCALAR})
    before = f"tfserving_models[0].source: version 7 cannot be published: {NO_BATCHES}"
    assert host.refusal(ranker(source), instances=batching(None)) == before
    assert set(host.files()) <= {".lock"}
    host.run(ranker(source), instances=serving(None))
    after = f"tfserving_models[0]: version 7 on this host cannot be served: {NO_BATCHES}"
    assert host.refusal(ranker(source), instances=batching(None)) == after


# --- copies that never served --------------------------------------------------------------------------------


def mended(tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    return tmp_path / "export", {**MODEL, "assets/mended": b"yes"}


def test_a_version_that_never_served_is_replaced_when_its_source_changes(host, server, tmp_path):
    source, better = mended(tmp_path)
    host.run(ranker(write_tree(source, MODEL)))
    server.serves("ranker", v7="END")
    instances = serving(server.port)
    assert not host.run(ranker(source), instances=instances)["changed"]
    write_tree(source, better)
    would = host.run(ranker(source), instances=instances, check=True)
    done = host.run(ranker(source), instances=instances)
    note = "ranker: version 7 has never served and its source has other content; it is replaced"
    for result in (would, done):
        assert [(one["model"], one["version"]) for one in result["published"]] == [("ranker", 7)]
        assert (result["changed"], result["notes"]) == (True, [note])
    assert host.version(7) == better
    assert not host.run(ranker(source), instances=instances)["changed"]


def test_a_version_that_has_served_is_never_replaced(host, server, tmp_path):
    source, better = mended(tmp_path)
    host.run(ranker(write_tree(source, MODEL)))
    server.serves("ranker", v7="AVAILABLE")
    assert not host.run(ranker(source), instances=serving(server.port))["changed"]
    write_tree(source, better)
    for state in ("AVAILABLE", "END"):
        server.serves("ranker", v7=state)
        assert not host.run(ranker(source), instances=serving(server.port))["changed"]
    assert host.version(7) == MODEL


def test_another_checksum_is_refused_for_what_serves_and_granted_for_what_never_did(host, server, tmp_path):
    first = tar_of(tmp_path / "first", MODEL)
    second = tar_of(tmp_path / "second", {**MODEL, "assets/mended": b"yes"})
    host.run(ranker(first, source={"sha256": digest(first)}))
    wish = ranker(second, source={"sha256": digest(second)})
    server.serves("ranker", v7="AVAILABLE")
    assert host.refusal(wish, instances=serving(server.port)) == (
        "tfserving_models[0].source.sha256: version 7 is already published with another checksum; "
        "versions are immutable, publish as a new version number"
    )
    server.serves("ranker", v7="END")
    assert "with another checksum" in host.refusal(wish, instances=serving(server.port))
    host.run(ranker(first, name="other", source={"sha256": digest(first)}))
    host.run({**wish, "name": "other"}, instances=serving(server.port))
    assert "assets/mended" in host.version(7, "other")


def test_a_source_that_is_gone_is_no_reason_to_touch_what_is_published(host, tmp_path):
    source = tar_of(tmp_path / "a", MODEL)
    host.run(ranker(source))
    source.write_bytes(b"x")
    assert "version 7 cannot be published: it is neither a tar" in host.refusal(ranker(source), instances=serving(None))
    source.unlink()
    assert not host.run(ranker(source), instances=serving(None))["changed"]
    assert host.version(7) == MODEL


def test_the_source_on_the_controller_is_compared_there(host):
    source = {"remote": False}
    staged = {"ranker/7": {"same": True}}
    write_tree(host.root / "ranker" / "7", MODEL)
    write_tree(host.root / "ranker" / ".published", {"7.json": b'{"sha256": null, "tree": "aa"}'})
    asked = host.run(ranker("/exports", source=source), instances=serving(None))
    assert [need["published"] for need in asked["needs"]] == [["aa"]]
    assert not host.run(ranker("/exports", source=source), instances=serving(None), staged=staged)["published"]


# --- full disks ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(host, monkeypatch) -> Iterator[Host]:
    """A host whose models lie on a disk of one MiB: a real one, or a pretended one where none may be mounted."""
    host.root.mkdir(parents=True)
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(host.root)]
    if subprocess.run(mounting, capture_output=True).returncode == 0:
        yield host
        subprocess.run(["umount", host.root], check=True)
        return

    def free(_store: object = None) -> int:
        return max(0, archives.MIB - sum(map(len, host.files().values())))

    def unpack(source: str, prefix: str, target: str, sizes: dict[str, int]) -> dict[str, str]:
        if sum(sizes.values()) > free():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(source, prefix, target, sizes)

    real = archives.unpack
    monkeypatch.setattr(archives, "unpack", unpack)
    monkeypatch.setattr(repository.Store, "free", free)
    yield host


def test_a_version_that_does_not_fit_is_refused_with_need_and_room(small_disk, tmp_path):
    source = write_tree(tmp_path / "export", {**MODEL, "assets/big": bytes(3 * archives.MIB)})
    message = small_disk.refusal(ranker(source))
    assert message == (
        "tfserving_models[0].source: version 7 cannot be published: it unpacks to 4 MiB or more and 1 MiB may be used; "
        "free space there, or check what was packed"
    )
    assert list(small_disk.files()) == [".lock"]


def test_a_download_that_does_not_fit_is_refused_before_its_first_byte(small_disk, server):
    server.answers["/7.tar"] = (200, {"Content-Length": str(5 * archives.MIB)}, b"")
    assert small_disk.refusal(ranker(f"{server.url}/7.tar", kind="http")) == (
        "tfserving_models[0].source: version 7 cannot be published: it needs 5 MiB and 1 MiB are free under "
        f"{small_disk.root}; free space there, or keep fewer versions"
    )


def test_the_margin_is_kept_free(host, archive):
    more_than_there_is = repository.Store(str(host.root)).free() // archives.MIB + 1024
    message = host.refusal(ranker(archive), min_free_mb=more_than_there_is)
    assert "it unpacks to 1 MiB or more and 0 MiB may be used" in message


def test_a_disk_that_fills_while_unpacking_is_left_as_it_was(host, archive, monkeypatch):
    host.run(ranker(archive, 6))
    before = host.files()

    def full(*_arguments: object) -> dict[str, str]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archives, "unpack", full)
    message = host.refusal(ranker(archive, 7))
    assert message.startswith("tfserving_models[0].source: version 7 cannot be published: it needs 1 MiB and ")
    assert message.endswith(f" are free under {host.root}; free space there, or keep fewer versions")
    assert host.files() == before


def test_a_disk_that_others_fill_while_unpacking_is_left_as_it_was(small_disk, tmp_path, monkeypatch):
    source = write_tree(tmp_path / "export", {**MODEL, "assets/big": bytes(archives.MIB // 2)})
    real = archives.check_saved_model

    def meanwhile(found: object) -> None:
        real(found)
        (small_disk.root / "others").write_bytes(bytes(archives.MIB * 3 // 4))

    monkeypatch.setattr(archives, "check_saved_model", meanwhile)
    monkeypatch.setattr(repository.Store, "require", lambda store, size: None)
    assert "version 7 cannot be published: it needs 1 MiB and 0 MiB are free" in small_disk.refusal(ranker(source))
    assert sorted(small_disk.files()) == [".lock", "others"]


# --- old versions --------------------------------------------------------------------------------------------


def serving(*ports: int | None) -> list[dict[str, object]]:
    return [{"name": f"i{at}", "models": ["ranker"], "ports": {"rest": port}} for at, port in enumerate(ports)]


def test_versions_that_a_server_still_holds_stay(host, server, archive):
    host.put_by_hand(1, 2, 3, 4)
    server.serves("ranker", v1="END", v2="UNLOADING", v4="AVAILABLE")
    result = host.run(ranker(archive, keep=2), instances=serving(server.port))
    assert result["removed"] == [{"model": "ranker", "version": 1}, {"model": "ranker", "version": 3}]
    assert result["kept"] == [{"model": "ranker", "version": 2, "reason": "a server holds it"}]
    assert result["models"] == {"ranker": [2, 4, 7]}


def test_while_a_server_cannot_be_asked_nothing_is_removed(host, server, archive):
    closed_port = free_port()
    host.put_by_hand(1, 2)
    server.serves("ranker", v2="AVAILABLE")
    result = host.run(ranker(archive, keep=2), instances=serving(server.port, closed_port))
    reason = f"the server on REST port {closed_port} does not answer"
    assert result["kept"] == [{"model": "ranker", "version": 1, "reason": reason}]
    assert result["models"] == {"ranker": [1, 2, 7]}
    reason = "a server of it has no REST port"
    assert host.run(ranker(archive, keep=2), instances=serving(None))["kept"][0]["reason"] == reason


def test_wanted_and_served_versions_stay_however_old(host, archive):
    host.put_by_hand(1, 2, 3, 4)
    wish = ranker(archive, 2, 7, provided=[7], keep=1, serve={"versions": [2, 7], "labels": {"stable": 1}})
    assert host.run(wish)["models"] == {"ranker": [1, 2, 7]}


def test_protected_versions_stay_and_need_not_be_there(host, archive):
    host.put_by_hand(1, 2, 3)
    wish = ranker(archive, keep=1, protected=[2, 5])
    assert host.run(wish, check=True)["models"] == host.run(wish)["models"] == {"ranker": [2, 7]}
    assert not host.run(wish)["changed"]


def test_servers_are_not_asked_while_there_is_nothing_to_remove(host, server, archive):
    host.run(ranker(archive, keep=3), instances=serving(server.port))
    assert server.requests == []


# --- the controller's part -----------------------------------------------------------------------------------


def test_what_the_controller_has_to_send_is_asked_for_before_anything_is_done(host):
    result = host.run(ranker("exports/{version}", source={"remote": False, "sha256": "a" * 64}))
    need = {"key": "ranker/7", "uri": "exports/7", "sha256": "a" * 64, "where": "tfserving_models[0]"}
    need |= {
        "published": [],
        "incoming": "",
        "demands": {"contract": None, "batching": [], "tags": [], "repeatable": False},
    }
    assert (result["changed"], result["needs"]) == (False, [need])
    assert not host.root.exists()


# --- what other hosts have sent -----------------------------------------------------------------------------


def sent_by_another(host, files=MODEL, sha256="", version=7):
    """Put a version where peers/pull.py does, verified; return the manifest."""
    entries = {path: [hashlib.sha256(content).hexdigest(), len(content)] for path, content in files.items()}
    manifest = manifests.read({"sha256": sha256 or "0" * 64, "files": entries})
    manifest = manifests.read({"sha256": sha256 or manifest.tree, "files": entries})
    incoming = Incoming(Store(str(host.root)), "ranker", version)
    incoming.begin(manifest)
    write_tree(Path(incoming.tree), files)
    incoming.finish(manifest)
    return manifest


FROM_CONTROLLER = {"remote": False}


def test_what_another_host_has_sent_is_named_to_the_controller_and_published_by_a_rename(host):
    manifest = sent_by_another(host)
    wish = ranker("exports/{version}", source=FROM_CONTROLLER)
    (need,) = host.run(wish)["needs"]
    assert need["incoming"] == manifest.sha256
    inode = os.stat(host.root / "ranker/.incoming-7/tree" / SHARD).st_ino
    staged = {"ranker/7": {"incoming": True, "sha256": manifest.sha256, "directory": True}}
    result = host.run(wish, staged=staged)
    assert result["published"] == [{"model": "ranker", "version": 7, "sha256": manifest.tree}]
    assert host.version(7) == MODEL
    assert os.stat(host.root / "ranker/7" / SHARD).st_ino == inode
    assert not (host.root / "ranker/.incoming-7").exists()
    assert Store(str(host.root)).marker("ranker", 7)["tree"] == manifest.tree


def test_an_archive_that_another_host_has_sent_unpacked_keeps_its_checksum(host):
    sent_by_another(host, sha256="a" * 64)
    staged = {"ranker/7": {"incoming": True, "sha256": "a" * 64, "directory": False}}
    result = host.run(ranker("exports/{version}", source=FROM_CONTROLLER), staged=staged)
    assert result["published"] == [{"model": "ranker", "version": 7, "sha256": "a" * 64}]
    assert result["notes"] == []


def test_what_another_host_has_sent_in_part_is_not_named(host):
    sent_by_another(host)
    (host.root / "ranker/.incoming-7/verified.json").unlink()
    assert host.run(ranker("exports/{version}", source=FROM_CONTROLLER))["needs"][0]["incoming"] == ""


@pytest.mark.parametrize("damage", ["assets/more", SHARD])
def test_what_has_changed_since_it_was_verified_is_refused_and_removed(host, damage):
    manifest = sent_by_another(host)
    write_tree(host.root / "ranker/.incoming-7/tree", {damage: b"other"})
    staged = {"ranker/7": {"incoming": True, "sha256": manifest.sha256, "directory": True}}
    assert host.refusal(ranker("exports/{version}", source=FROM_CONTROLLER), staged=staged) == (
        "tfserving_models[0].source: version 7 cannot be published: what another host has sent of it has changed since "
        "it was verified; run again"
    )
    assert not (host.root / "ranker/.incoming-7").exists()


def test_what_another_host_has_sent_of_other_content_is_refused(host):
    sent_by_another(host)
    staged = {"ranker/7": {"incoming": True, "sha256": "b" * 64, "directory": True}}
    assert host.refusal(ranker("exports/{version}", source=FROM_CONTROLLER), staged=staged) == (
        "tfserving_models[0].source: version 7 cannot be published: what another host has sent of it is gone since the "
        "run began; run again"
    )


def test_what_another_host_has_sent_is_removed_if_nobody_wants_it_or_it_comes_from_elsewhere(host, archive):
    for version in (5, 7):
        sent_by_another(host, version=version)
    assert host.run(ranker(archive), check=True)["changed"]
    host.run(ranker(archive))
    assert host.version(7) == MODEL
    assert not [*(host.root / "ranker").glob(".incoming-*")]
