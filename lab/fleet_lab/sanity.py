# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""`make sanity`: checks of the collection as published, with the tools that publishing involves."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from fleet_lab import environment
from fleet_lab.build import judge_packages
from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import openly, quietly
from fleet_lab.stages import Shown

PINNED = "2.19"  # the ansible-core of .venv

# What finds most, in under a minute; the others wait for `make sanity`.
SAMPLE = ("validate-modules", "import", "action-plugin-docs")
SAMPLE_PYTHONS = ("3.9",)

# All that ansible-test fetches from elsewhere than PyPI, by the version of pip that it wants: 2.19, and 2.20 and newer.
GET_PIP = ("get_pip_24_2.py", "get_pip_25_2.py")
ENSUREPIP = "import ensurepip\nensurepip.bootstrap()\n"

# A label of Ansible's own documentation, or one of its settings.
OTHERS_LABEL = re.compile(
    r"undefined label: '(?!ansible_collections\.tfserving\.)|'envvar' reference target not found: ANSIBLE_"
)

COMPLAINT = re.compile(r"^(WARNING|ERROR|CRITICAL)\b.*")


def sanity(lab: Lab, core: str | None = None) -> list[Shown]:
    """Return the stages: ansible-test with .venv's and the newest ansible-core, Galaxy, docs site; or a core alone."""
    if core is not None:
        return [_ansible_test(lab, core)]
    newest = judge_packages.installed_cores(lab)[-1:]
    return [
        *(_ansible_test(lab, name) for name in (PINNED, *newest)),
        ("sanity: galaxy-importer", _importer(lab)),
        ("sanity: docs site", _docs_site(lab)),
    ]


def sample(lab: Lab) -> list[Shown]:
    """Return a stage for the tests that find most, on the oldest Python of a host."""
    tests = [option for name in SAMPLE for option in ("--test", name)]
    return [_ansible_test(lab, PINNED, tests, SAMPLE_PYTHONS)]


def published(lab: Lab, place: Path, log: Path) -> Path:
    """Build the archive that would be published, install the collection from it beside it, and return the archive."""
    shutil.rmtree(place, ignore_errors=True)
    galaxy: list[str | Path] = [lab.venv / "bin" / "ansible-galaxy", "collection"]
    env = environment.ansible(lab)
    quietly([*galaxy, "build", "--output-path", place], log, env, lab.root)
    archive = next(place.glob("*.tar.gz"))
    quietly([*galaxy, "install", "--force", "--no-deps", "--collections-path", place, archive], log, env, lab.root)
    return archive


def installed(place: Path) -> Path:
    return place / "ansible_collections" / "tfserving" / "fleet"


def _ansible_test(
    lab: Lab, core: str, options: Sequence[str] = (), pythons: Sequence[str] = judge_packages.HOST_PYTHONS
) -> Shown:
    """Return a stage for ansible-test on the published collection; it sets up an environment per test from PyPI."""
    tools = lab.venv if core == PINNED else judge_packages.folder(lab, f"core-{core}")
    known = [PINNED, *judge_packages.installed_cores(lab)]
    if core not in known:
        raise Stop(f"there is no ansible-core {core} here; known are: {', '.join(known)}")
    name = f"sanity: {'sample' if options else core}"
    place = lab.judged / name.replace(": ", "-")

    def work(label: str) -> None:
        log = lab.logs / "sanity.log"
        published(lab, place, log)
        collection = installed(place)
        # ansible-test asks git which files there are, and the checkout around it ignores them all.
        quietly(["git", "init", "--quiet"], log, cwd=collection)
        for part in ("config.yml", "sanity"):  # the archive leaves tests/ out
            copy: list[str | Path] = ["cp", "-r", "--parents", f"tests/{part}", collection]
            quietly(copy, log, cwd=lab.root)
        env = {"HOME": str(_home(lab)), "PATH": _path(place / "bin", tools, pythons)}
        openly([tools / "bin" / "ansible-test", "sanity", "--color", "no", *options], env, collection, label)

    return name, work


def _home(lab: Lab) -> Path:
    """Return the folder of ansible-test's environments, with a stand-in for the script that it would fetch."""
    cache = lab.judged / "home" / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in GET_PIP:
        (cache / name).write_text(ENSUREPIP)
    return lab.judged / "home"


def _path(links: Path, tools: Path, wanted: Sequence[str]) -> str:
    """Return a PATH of these Pythons and the standard folders, since pyenv's shims would be taken for Pythons."""
    links.mkdir()
    for version, python in judge_packages.pythons().items():
        if version in wanted:
            (links / f"python{version}").symlink_to(python.resolve())
    return f"{tools / 'bin'}:{links}:/usr/bin:/bin"


def _importer(lab: Lab) -> Callable[[str], None]:
    """Return the work of Galaxy's import, including flake8; a warning counts as a failure."""
    tools = judge_packages.folder(lab, "judges") / "bin"

    def work(label: str) -> None:
        place, log = lab.judged / "importer", lab.logs / "importer.log"
        archive = published(lab, place, lab.logs / "sanity.log")
        log.unlink(missing_ok=True)
        env = {"PATH": f"{tools}:/usr/bin:/bin", "GALAXY_IMPORTER_RUN_FLAKE8": "true"}
        quietly([tools / "python", "-m", "galaxy_importer.main", archive.name], log, env, place)
        _refuse("galaxy-importer", [line for line in log.read_text().splitlines() if COMPLAINT.match(line)], log)

    return work


def _docs_site(lab: Lab) -> Callable[[str], None]:
    """Return the work of building the pages for docs.ansible.com; links to other projects are not followed."""
    tools = judge_packages.folder(lab, "judges") / "bin"

    def work(label: str) -> None:
        place, log = lab.judged / "docs-site", lab.logs / "docs-site.log"
        published(lab, place, lab.logs / "sanity.log")
        settings = place / "ansible.cfg"  # neither the checkout's nor the user's
        settings.touch()
        log.unlink(missing_ok=True)
        env = {
            "PATH": f"{tools}:/usr/bin:/bin",
            "ANSIBLE_COLLECTIONS_PATH": str(place),
            "ANSIBLE_CONFIG": str(settings),
        }
        options = ["--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir"]
        quietly([tools / "antsibull-docs", "sphinx-init", *options, place, "tfserving.fleet"], log, env, place)
        with (place / "conf.py").open("a") as file:
            file.write("intersphinx_mapping = {}\n")
        (place / "rst").chmod(0o755)  # antsibull-docs writes nowhere where others may
        quietly([tools / "antsibull-docs", "collection", *options, place / "rst", "tfserving.fleet"], log, env, place)
        quietly([tools / "sphinx-build", "-M", "html", "rst", "build", "-c", ".", "--keep-going"], log, env, place)
        _refuse("the docs site", own_warnings(log.read_text()), log)

    return work


def own_warnings(log: str) -> list[str]:
    """Return Sphinx's warnings, except for labels of other projects, which it cannot know offline."""
    warnings = [line for line in log.splitlines() if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    return [line for line in warnings if not OTHERS_LABEL.search(line)]


def _refuse(judge: str, complaints: Sequence[str], log: Path) -> None:
    if complaints:
        raise Stop(f"{judge} has {len(complaints)} complaints; its whole output is in {log}", "\n".join(complaints))
