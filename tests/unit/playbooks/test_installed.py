# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The collection as people install it: built, installed from its archive, and used from an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from playbook_place import DEAD, HERE
from repository import REPOSITORY
from running import CORE

BIN = Path(sys.executable).parent
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST_SCREEN = re.compile(r"^\$ (ansible-[a-z]+ .*?)(?: +#.*)?$", re.MULTILINE)
# This machine may be a container, which runs no systemd.
PLAN = ("-i", "inventory", "tfserving.fleet.plan", "-e", "__host_plan_service_manager=systemd")
NAMES = (
    *("site", "serve", "plan", "status", "bundle", "certificates", "server_rollback", "starter", "benchmark", "tune"),
    *("gateway", "drain", "undrain", "rollout", "rollback", "monitoring", "diagnose", "profile"),
    *("adopt", "adopt_share", "adopt_takeover", "adopt_undo", "optimize_model", "cache_report"),
)


class Home:
    """A user's home with the collection installed in it, and an empty folder to work in."""

    def __init__(self, place: Path, of: Home | None = None) -> None:
        self.folder = place / "work"
        self.folder.mkdir(parents=True)
        self.environment = {
            "HOME": of.environment["HOME"] if of else str(place),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_NOCOLOR": "1",
            "PATH": f"{BIN}:{os.environ['PATH']}",
            **CORE,
        }

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        """Run one of Ansible's programs as the user would; the output of both streams together."""
        program, *arguments = map(str, command)
        return subprocess.run(
            [sys.executable, str(BIN / program), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def succeed(self, *command: object) -> str:
        """Run a command that must succeed; return what it prints."""
        done = self.run(*command)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def host(self, **variables: object) -> None:
        """Give the starter inventory's host these variables."""
        name = "gpu1.example.com"
        (self.folder / "inventory/hosts.yml").write_text(yaml.safe_dump({"tfserving": {"hosts": {name: variables}}}))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The archive that would be published."""
    place = tmp_path_factory.mktemp("build")
    home = Home(place)
    home.succeed("ansible-galaxy", "collection", "build", "--output-path", place, REPOSITORY)
    (built,) = place.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def home(tmp_path_factory, archive):
    """All of README's first screen up to the point where the inventory is edited."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.succeed("ansible-galaxy", "collection", "install", "--offline", archive)
    home.succeed("ansible-playbook", "tfserving.fleet.starter")
    return home


def test_the_first_screen_is_what_these_tests_run():
    commands = FIRST_SCREEN.findall((REPOSITORY / "README.md").read_text())
    assert commands == [
        "ansible-galaxy collection install tfserving.fleet",
        "ansible-playbook tfserving.fleet.starter",
        "ansible-playbook -i inventory tfserving.fleet.site --check --diff",
        "ansible-playbook -i inventory tfserving.fleet.site",
        "ansible-playbook -i inventory tfserving.fleet.status",
        # Parsed here; the scenarios rollout and gateway run them.
        "ansible-playbook -i inventory tfserving.fleet.rollout -e model=ranker",
        "ansible-playbook -i inventory tfserving.fleet.drain --limit gpu1",
        # These are parsed here; they measure what serves, so the scenario measure runs them.
        "ansible-playbook -i inventory tfserving.fleet.benchmark -e instance=ranker",
        "ansible-playbook -i inventory tfserving.fleet.tune -e instance=ranker",
        # And the scenarios monitoring and diagnosis these.
        "ansible-playbook -i inventory tfserving.fleet.monitoring",
        "ansible-playbook -i inventory tfserving.fleet.diagnose",
    ]


def test_every_playbook_is_found_by_its_name_and_parsed(home):
    assert sorted(NAMES) == sorted(path.stem for path in (REPOSITORY / "playbooks").glob("*.yml"))
    playbooks = [f"tfserving.fleet.{name}" for name in NAMES]
    output = home.succeed("ansible-playbook", "-i", "inventory", "--syntax-check", *playbooks)
    installed = f"{home.environment['HOME']}/.ansible/collections/ansible_collections/tfserving/fleet/playbooks"
    assert re.findall(r"^playbook: (.*)$", output, re.MULTILINE) == [f"{installed}/{name}.yml" for name in NAMES]


def test_a_plan_of_the_starter_inventory_has_the_collections_report_and_stages(home):
    home.host(**HERE)
    output = home.succeed("ansible-playbook", *PLAN, "-e", "plan_json=plan.json")
    assert re.search(r"^ +\d:\d\d +\d/\d  Plan every host: gpu1\.example\.com$", output, re.MULTILINE)
    assert "TASK [" not in output
    assert "ranker 1" in output
    assert (home.folder / "plan.html").is_file()
    assert '"would_change": true' in (home.folder / "plan.json").read_text()


def test_the_runner_of_slices_works_from_the_installed_collection(home):
    home.host(**HERE)
    program = f"{home.environment['HOME']}/.ansible/collections/ansible_collections/tfserving/fleet/bin/tfserving-fleet"
    assert os.access(program, os.X_OK)
    done = subprocess.run(
        [program, *PLAN, "-e", "plan_html="],
        cwd=home.folder,
        env=home.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tfserving.fleet.plan: 1 host in 1 slice," in done.stdout
    assert "ranker 1" in done.stdout


def test_messages_name_what_somebody_without_a_clone_can_run(home):
    home.host(**HERE)
    plan = home.run("ansible-playbook", *PLAN, "-e", "plan_exit_code=true")
    assert plan.returncode == 2
    assert "the differences stand above, and tfserving.fleet.site makes them" in plan.stdout
    status = home.succeed("ansible-playbook", "-i", "inventory", "tfserving.fleet.status")
    assert "gpu1.example.com: no plan is in force; run tfserving.fleet.site" in status
    assert "ansible-playbook -i INVENTORY tfserving.fleet.site --check --diff" in status
    for output in (plan.stdout, status):
        assert "playbooks/" not in output
        assert "site.yml" not in output


@pytest.mark.parametrize("options", [(), ("--check", "--diff")])
def test_site_starts_and_says_in_one_sentence_that_it_reaches_no_host(home, options):
    home.host(**DEAD)
    done = home.run("ansible-playbook", "-i", "inventory", "tfserving.fleet.site", *options)
    assert done.returncode != 0
    assert "gpu1.example.com: no host of this run can be reached; see the messages above" in " ".join(
        done.stdout.split()
    )


def test_a_mistake_is_refused_before_a_host_is_asked(home):
    home.host(**DEAD, tfserving_models=[{"name": "ranker", "verion": 1}])
    done = home.run("ansible-playbook", "-i", "inventory", "tfserving.fleet.site")
    assert done.returncode != 0
    assert "tfserving_models[0].verion: is not a key of a model; did you mean 'version'?" in " ".join(
        done.stdout.split()
    )
    assert "cannot be reached" not in done.stdout


def files_of_the_page() -> dict[str, str]:
    """Return the files that docs/install.md shows, by the path in their first line."""
    blocks = BLOCK.findall((REPOSITORY / "docs/install.md").read_text())
    return {found[1]: block for block in blocks if (found := re.match(r"# ([\w./-]+)", block))}


def test_the_pages_vault_keeps_its_secret_out_of_the_plan(home, tmp_path_factory):
    other = Home(tmp_path_factory.mktemp("vault"), home)
    other.succeed("ansible-playbook", "tfserving.fleet.starter")
    other.host(**HERE)
    (other.folder / "inventory/group_vars/tfserving.yml").unlink()
    for name, text in files_of_the_page().items():
        (other.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (other.folder / name).write_text(text)
    (other.folder / "password").write_text("x")
    password, vault = "--vault-password-file=password", "inventory/group_vars/tfserving/vault.yml"
    other.succeed("ansible-vault", "encrypt", password, vault)
    assert "s3cr3t" not in (other.folder / vault).read_text()
    output = other.succeed("ansible-playbook", password, *PLAN, "-e", "plan_json=plan.json", "-vv")
    kept = [(other.folder / name).read_text() for name in ("plan.json", "plan.html")]
    assert "ranker 1" in output
    assert not [text for text in (output, *kept) if "s3cr3t" in text]


def test_the_pages_playbook_for_awx_is_one(home):
    (home.folder / "site.yml").write_text(files_of_the_page()["site.yml"])
    home.succeed("ansible-playbook", "-i", "inventory", "--syntax-check", "site.yml")


@pytest.mark.parametrize("kind", ["filter", "module", "callback", "role"])
def test_ansible_doc_lists_every_part_of_the_collection(home, kind):
    folder = REPOSITORY / ("roles" if kind == "role" else f"plugins/{'modules' if kind == 'module' else kind}")
    ours = {path.stem for path in folder.iterdir() if path.stem != "__pycache__"}
    output = home.succeed("ansible-doc", "-t", kind, "--list", "--json", "tfserving.fleet")
    assert set(re.findall(r'"tfserving\.fleet\.(\w+)"', output)) == ours


def test_removing_its_folder_uninstalls_it(home, tmp_path_factory, archive):
    other = Home(tmp_path_factory.mktemp("other"))
    other.succeed("ansible-galaxy", "collection", "install", "--offline", archive)
    installed = Path(other.environment["HOME"], ".ansible/collections/ansible_collections/tfserving")
    shutil.rmtree(installed)
    assert (
        "tfserving.fleet.starter could not be found" in other.run("ansible-playbook", "tfserving.fleet.starter").stdout
    )
    assert not list(Path(other.environment["HOME"]).rglob("*tfserving*"))
