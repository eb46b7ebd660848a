# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Keeping a pinned signing key, with keys that gpg really made."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import signing_keys
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.point import plan_restored
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.tree import Tree
from ansible_collections.tfserving.fleet.plugins.modules import signing_key
from running import run_module

pytestmark = pytest.mark.skipif(not shutil.which("gpg"), reason="gpg is not installed here")

# The clock of every test. It stands in the past, since gpg takes no notice of what was signed in the future.
NOW = 1_700_000_000  # 2023-11-14
DAY = 86400
TIMES = {"long ago": NOW - 900 * DAY, "last year": NOW - 400 * DAY}


class Gpg:
    """A gpg home with made-up time."""

    def __init__(self, home):
        self.home = home

    def __call__(self, *arguments, at=NOW, data=None):
        command = ["gpg", "--homedir", self.home, "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback",
                   "--passphrase", "", "--faked-system-time", f"{at}!", *arguments]  # fmt: skip
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    def create(self, name, expires, at):
        """Make a key that expires at a moment (None: never) and return its fingerprint."""
        life = "never" if expires is None else f"seconds={expires - at}"
        self("--quick-gen-key", name, "ed25519", "sign", life, at=at)
        listing = self("--with-colons", "--list-keys", name, at=at).decode()
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))

    def export(self, *fingerprints, armour=False):
        return self(*(["--armor"] if armour else []), "--export", *fingerprints)

    def renew(self, fingerprint, expires, at):
        """Move the end of a key's life and return the key's new edition."""
        self("--quick-set-expire", fingerprint, f"seconds={expires - at}", at=at)
        return self.export(fingerprint)


@pytest.fixture(scope="module")
def gpg():
    # A short path: the agent's socket stands in the home, and a socket's path is limited to 108 characters.
    home = tempfile.mkdtemp(prefix="tfs-gpg-", dir="/tmp")
    yield Gpg(home)
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    shutil.rmtree(home, ignore_errors=True)


class Keys:
    """The keys of all tests: made once, since each takes a moment."""

    def __init__(self, gpg):
        at = TIMES["long ago"]
        self.good = gpg.create("Good: Signer <good@example.com>", None, at)
        self.other = gpg.create("Other Signer <other@example.com>", None, at)
        self.yearly = gpg.create("Yearly Signer <yearly@example.com>", NOW - 10 * DAY, at)
        self.good_file = gpg.export(self.good)
        self.good_armoured = gpg.export(self.good, armour=True)
        self.other_file = gpg.export(self.other)
        self.both_file = gpg.export(self.good, self.other)
        self.expired_file = gpg.export(self.yearly)
        self.ending_file = gpg.renew(self.yearly, NOW + 20 * DAY, TIMES["last year"])
        self.renewed_file = gpg.renew(self.yearly, NOW + 300 * DAY, NOW - DAY)


@pytest.fixture(scope="module")
def keys(gpg):
    return Keys(gpg)


class Site:
    """A web server that publishes one file and counts its readers."""

    def __init__(self):
        site = self
        self.content, self.status, self.reads = b"", 200, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_args):
                pass

            def do_GET(self):
                site.reads += 1
                self.send_response(site.status)
                self.end_headers()
                self.wfile.write(site.content)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_address[1]}/key.gpg"


@pytest.fixture
def site():
    site = Site()
    yield site
    site.http.shutdown()
    site.http.server_close()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the module at the tests' own time and return its result."""
    clock = {"now": NOW}
    warnings = []
    monkeypatch.setattr(signing_key.time, "time", lambda: clock["now"])
    # Ansible collects the warnings of a process, and here many modules run in one.
    monkeypatch.setattr(signing_key.AnsibleModule, "warn", lambda _module, text: warnings.append(text))

    def call(check=False, now=NOW, **arguments):
        clock["now"] = now
        warnings.clear()
        arguments = {"path": str(tmp_path / "keyrings" / "archive.gpg"), "_ansible_check_mode": check, **arguments}
        return {**run_module(signing_key, **arguments), "warnings": list(warnings)}

    return call


@pytest.fixture
def keyring(tmp_path):
    return tmp_path / "keyrings" / "archive.gpg"


def test_a_key_is_fetched_verified_and_written(run, site, keys, keyring):
    site.content = keys.good_file
    result = run(source=site.url, fingerprint=keys.good)
    assert (result["changed"], result["fetched"], result["expires"], result["expires_in_days"]) == (
        True,
        True,
        "",
        None,
    )
    assert result["user_ids"] == ["Good: Signer <good@example.com>"]
    assert keyring.read_bytes() == keys.good_file
    assert keyring.stat().st_mode & 0o777 == 0o644


def test_a_second_run_neither_changes_nor_fetches(run, site, keys):
    site.content = keys.good_file
    run(source=site.url, fingerprint=keys.good)
    result = run(source=site.url, fingerprint=keys.good)
    assert (result["changed"], result["fetched"], site.reads) == (False, False, 1)


def test_check_mode_foretells_without_writing(run, site, keys, keyring):
    site.content = keys.good_file
    result = run(check=True, source=site.url, fingerprint=keys.good)
    assert result["changed"]
    assert result["diff"][0]["before"] == ""
    assert keys.good in result["diff"][0]["after"]
    assert not keyring.exists()


def test_an_armoured_key_is_written_binary(run, site, keys, keyring):
    site.content = keys.good_armoured
    run(source=site.url, fingerprint=keys.good)
    assert keyring.read_bytes() == keys.good_file


def test_an_asc_file_is_written_armoured_and_gpg_reads_it(run, site, keys, keyring, gpg):
    site.content = keys.good_file
    path = keyring.with_suffix(".asc")
    assert run(source=site.url, fingerprint=keys.good, path=str(path))["changed"]
    assert path.read_bytes().startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    assert keys.good in gpg("--with-colons", "--show-keys", str(path)).decode()
    assert not run(source=site.url, fingerprint=keys.good, path=str(path))["changed"]


@pytest.mark.parametrize("size", [300, 301, 302], ids=["unpadded", "padded twice", "padded once"])
def test_gpg_reads_an_armoured_file_of_any_size(gpg, size):
    data = bytes(range(256)) * 2
    assert gpg("--dearmor", data=signing_keys.armoured(data[:size])) == data[:size]


def test_a_file_of_the_wrong_form_is_rewritten_without_fetching(run, site, keys, keyring):
    keyring.parent.mkdir()
    keyring.write_bytes(keys.good_armoured)
    result = run(source=site.url, fingerprint=keys.good)
    assert (result["changed"], site.reads) == (True, 0)
    assert keyring.read_bytes() == keys.good_file


def test_a_key_may_come_from_a_file_of_the_host_or_from_the_task(run, keys, keyring, tmp_path):
    source = tmp_path / "source.asc"
    source.write_bytes(keys.good_armoured)
    assert run(source=str(source), fingerprint=keys.good)["changed"]
    assert not run(content=keys.good_armoured.decode(), fingerprint=keys.good)["changed"]
    assert keyring.read_bytes() == keys.good_file


def test_wrong_permissions_are_mended(run, site, keys, keyring):
    site.content = keys.good_file
    run(source=site.url, fingerprint=keys.good)
    keyring.chmod(0o600)
    foretold = run(check=True, source=site.url, fingerprint=keys.good)
    assert foretold["changed"]
    assert foretold["diff"][1]["before"] == {"mode": "0600"}
    assert keyring.stat().st_mode & 0o777 == 0o600
    assert run(source=site.url, fingerprint=keys.good)["changed"]
    assert keyring.stat().st_mode & 0o777 == 0o644


def test_another_key_in_the_place_of_the_pinned_one_is_replaced(run, site, keys, keyring):
    keyring.parent.mkdir()
    keyring.write_bytes(keys.other_file)
    site.content = keys.good_file
    assert run(source=site.url, fingerprint=keys.good)["changed"]
    assert keyring.read_bytes() == keys.good_file


def test_a_wrong_key_is_refused_with_both_fingerprints(run, site, keys, keyring):
    site.content = keys.other_file
    result = run(source=site.url, fingerprint=keys.good)
    assert result["msg"] == (
        f"{site.url}: holds the key {keys.other}, pinned is {keys.good}; "
        "compare it with what the publisher announces before the pin is changed"
    )
    assert not keyring.exists()


def test_a_second_key_in_the_file_is_refused(run, site, keys, keyring):
    site.content = keys.both_file
    result = run(source=site.url, fingerprint=keys.good)
    assert result["msg"] == (
        f"{site.url}: holds other keys beside the pinned one ({keys.other}); apt would trust them all"
    )
    assert not keyring.exists()


def test_a_second_armoured_block_is_seen_too(run, keys, gpg):
    content = (keys.good_armoured + gpg.export(keys.other, armour=True)).decode()
    assert "holds other keys beside the pinned one" in run(content=content, fingerprint=keys.good)["msg"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>", "holds no OpenPGP key (gpg: no valid OpenPGP data found.); it begins with b'<!DOC"),
        (b"", "holds no OpenPGP key"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabcd", "is armoured but holds no complete public key block"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!!\n-----END PGP PUBLIC KEY BLOCK-----", "has a damaged armour"),
        (b"x" * (signing_keys.MOST_BYTES + 1), "is larger than 1048576 bytes"),
    ],
)
def test_what_is_no_key_is_refused(run, site, keys, content, message):
    site.content = content
    result = run(source=site.url, fingerprint=keys.good)
    assert message in result["msg"]
    assert result["msg"].endswith("check that it leads to the key itself")


def test_a_revoked_key_is_refused():
    listing = "pub:r:255:22:1:1:::::::sc:\nfpr:::::::::" + "A" * 40 + ":\n"
    with pytest.raises(WishError, match="was revoked by its owner; trust nothing it signs"):
        signing_keys.pinned(signing_keys.parsed(listing), "A" * 40, "x")


@pytest.mark.parametrize("fingerprint", ["BF9E4D5F", "0x544B7F63BF9E4D5F", "Z" * 40, ""])
def test_a_short_fingerprint_is_refused(run, fingerprint):
    result = run(content="x", fingerprint=fingerprint)
    assert result["msg"] == (
        f"fingerprint: {fingerprint!r} is not a fingerprint; give all 40 hexadecimal digits; "
        "the short forms of a key can be forged"
    )


def test_a_fingerprint_may_be_written_in_groups(run, keys):
    groups = " ".join(keys.good[start : start + 4].lower() for start in range(0, 40, 4))
    assert run(content=keys.good_armoured.decode(), fingerprint=groups)["fingerprint"] == keys.good


def test_a_source_that_cannot_be_read_is_named_without_its_password(run, site, keys):
    site.status = 404
    url = site.url.replace("//", "//user:secret@")
    result = run(source=url, fingerprint=keys.good)
    assert result["msg"].startswith(f"{site.url}: cannot be read (answers 404")
    assert "secret" not in result["msg"]


def test_a_source_that_is_no_file_is_not_waited_for(run, keys, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    message = run(source=str(tmp_path / "pipe"), fingerprint=keys.good)["msg"]
    assert message == f"{tmp_path}/pipe: cannot be read (is a named pipe); check that it can be reached"


def test_a_key_without_an_end_is_not_read_to_it(run, site, keys):
    site.content = b"x" * 4_000_000
    assert "is larger than" in run(source=site.url, fingerprint=keys.good)["msg"]


def test_a_missing_file_of_the_host_is_named(run, keys):
    assert "/nonexistent/key.gpg: cannot be read (" in run(source="/nonexistent/key.gpg", fingerprint=keys.good)["msg"]


def test_an_expired_key_is_refused_with_its_day_and_the_cure(run, site, keys, keyring):
    site.content = keys.expired_file
    result = run(source=site.url, fingerprint=keys.yearly)
    assert result["msg"] == (
        f"{site.url}: the key {keys.yearly} expired on 2023-11-04; its publisher has to publish it again: run again "
        "later, use a mirror that signs with a key of its own, or set allow_expired to install it all the same"
    )
    assert not keyring.exists()


def test_an_expired_key_is_installed_with_a_warning_when_allowed(run, site, keys, keyring):
    site.content = keys.expired_file
    result = run(source=site.url, fingerprint=keys.yearly, allow_expired=True)
    assert (result["changed"], result["expires_in_days"]) == (True, -10)
    assert "expired on 2023-11-04, so that apt refuses what it signs" in result["warnings"][0]
    assert keyring.read_bytes() == keys.expired_file


@pytest.mark.parametrize("edition", ["expired_file", "ending_file"])
def test_a_new_edition_replaces_an_expired_or_ageing_one(run, site, keys, keyring, edition):
    keyring.parent.mkdir()
    keyring.write_bytes(getattr(keys, edition))
    site.content = keys.renewed_file
    result = run(source=site.url, fingerprint=keys.yearly)
    assert (result["changed"], result["expires_in_days"]) == (True, 300)
    assert result["diff"][0]["before"] != result["diff"][0]["after"]
    assert keyring.read_bytes() == keys.renewed_file


def test_an_ageing_key_is_warned_about(run, site, keys):
    site.content = keys.ending_file
    result = run(source=site.url, fingerprint=keys.yearly)
    assert f"the key {keys.yearly} expires on 2023-12-04, in 20 days" in result["warnings"][0]
    assert not result.get("failed")
    assert not run(source=site.url, fingerprint=keys.yearly, warn_days=10)["warnings"]


def test_an_older_edition_never_replaces_a_newer_one(run, site, keys, keyring):
    keyring.parent.mkdir()
    keyring.write_bytes(keys.renewed_file)
    result = run(content=base64_armour(keys.ending_file), fingerprint=keys.yearly)
    assert (result["changed"], result["expires_in_days"]) == (False, 300)


def base64_armour(data):
    body = base64.b64encode(data).decode()
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: one\n\n{body}\n-----END PGP PUBLIC KEY BLOCK-----\n"


def test_an_ageing_key_stays_when_its_source_is_away(run, site, keys, keyring):
    keyring.parent.mkdir()
    keyring.write_bytes(keys.ending_file)
    site.status = 503
    result = run(source=site.url, fingerprint=keys.yearly)
    assert not result["changed"]
    assert "so " + str(keyring) + " stays as it is" in result["warnings"][0]


def test_an_expired_key_whose_source_is_away_is_both_told(run, site, keys, keyring):
    keyring.parent.mkdir()
    keyring.write_bytes(keys.expired_file)
    site.status = 503
    message = run(source=site.url, fingerprint=keys.yearly)["msg"]
    assert "cannot be read (answers 503" in message
    assert f"and the key in {keyring} expired on 2023-11-04" in message


def test_a_key_of_the_future_points_at_the_hosts_clock(run, keys):
    message = run(content=keys.good_armoured.decode(), fingerprint=keys.good, now=DAY)["msg"]
    assert message.endswith("after this host's today; set the host's clock")


def test_the_life_of_the_signing_subkey_counts_and_the_primary_ends_all():
    def listing(primary, subkey):
        return (
            f"pub:-:4096:1:1:1:{primary}::-:::cC:\nfpr:::::::::{'A' * 40}:\nuid:-::::1::X::a::::::::::0:\n"
            f"sub:-:4096:1:2:1:{subkey}:::::s:\nfpr:::::::::{'B' * 40}:\n"
        )

    assert [
        signing_keys.parsed(listing(*ends))[0].expires for ends in (("", ""), ("", 50), (90, 50), (50, 90), (50, ""))
    ] == [None, 50, 50, 50, 50]


@pytest.fixture
def without_gpg(monkeypatch):
    monkeypatch.setattr(signing_key.AnsibleModule, "get_bin_path", lambda *_args, **_kwargs: None)


@pytest.mark.usefixtures("without_gpg")
def test_a_host_without_gpg_is_told_what_to_install(run, keys, keyring):
    result = run(content="x", fingerprint=keys.good)
    assert result["msg"] == f"{keyring}: gpg is needed to verify the key and is not on this host; install gnupg"


@pytest.mark.usefixtures("without_gpg")
def test_check_mode_on_a_fresh_host_foretells_the_change_and_warns(run, keys):
    result = run(check=True, content="x", fingerprint=keys.good)
    assert result["changed"]
    assert "was not verified" in result["warnings"][0]


def test_source_or_content_must_be_given(run, keys):
    assert "one of the following is required: source, content" in run(fingerprint=keys.good)["msg"]


def test_nothing_is_left_in_the_temporary_directory(run, site, keys):
    site.content = keys.good_file
    run(source=site.url, fingerprint=keys.good)
    assert not list(Path(tempfile.gettempdir()).glob("tfserving-fleet-gpg-*"))
    assert os.environ.get("GNUPGHOME") is None


def test_a_keyring_of_a_tree_is_brought_back_with_the_tree(run, gpg, keys, keyring, tmp_path):
    """A failed run takes its repository out of apt, and the old repository needs its own key again."""

    def restore():
        tree = Tree(str(tmp_path / "trees"), "apt", "/")
        tree.run(lambda host, manifest: plan_restored(host, manifest, tree.store), lambda *_: None)
        tree.prove()

    places = {"tree": "apt", "state_path": str(tmp_path / "trees")}
    run(content=keys.good_armoured.decode(), fingerprint=keys.good, **places)
    restore()
    assert not keyring.exists()
    run(content=keys.good_armoured.decode(), fingerprint=keys.good)
    run(content=gpg.export(keys.other, armour=True).decode(), fingerprint=keys.other, **places)
    assert keyring.read_bytes() != keys.good_file
    restore()
    assert keyring.read_bytes() == keys.good_file
