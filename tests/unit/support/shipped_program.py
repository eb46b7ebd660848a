# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A package of module_utils that a role lays down as a program of the host, with all that it imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
from repository import REPOSITORY

SOURCES = REPOSITORY / "plugins/module_utils"


@dataclass(frozen=True)
class ShippedProgram:
    """The program ``tfserving-PACKAGE``, whose templates are at ``place`` below a role's, its files in ``lib``."""

    package: str
    role: Path
    place: Path

    @property
    def name(self) -> str:
        """Return the name of the program's file."""
        return f"tfserving-{self.package}"

    def closure(self) -> set[str]:
        """Return every file that the program imports, directly or not, and those that make packages of them."""
        found, todo = set(), [SOURCES / self.package / "__main__.py"]
        while todo:
            path = todo.pop()
            if path in found:
                continue
            found.add(path)
            todo += [each / "__init__.py" for each in path.parents if SOURCES in each.parents]
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.level:
                    base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                    files = [base.with_suffix(".py"), *(base / f"{alias.name}.py" for alias in node.names)]
                    todo += [each for each in files if each.is_file()]
        return {str(path.relative_to(SOURCES)) for path in found}

    def templates(self) -> set[str]:
        """Return the files that the role has templates of."""
        lib = self.place / "lib"
        return {str(path.relative_to(lib / "fleet")).removesuffix(".j2") for path in lib.rglob("*.j2")}

    def foreign_imports(self) -> Iterator[tuple[str, set[str]]]:
        """Yield each file with the packages that it imports besides the program's own."""
        for name in self.closure():
            for node in ast.walk(ast.parse((SOURCES / name).read_text())):
                names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                yield name, {str(each).partition(".")[0] for each in names}

    def lay_down(self, root: Path) -> Path:
        """Lay the program down as it stands on a host, and return its path."""
        environment = jinja2.Environment(keep_trailing_newline=True)
        values = {
            "ansible_managed": "Ansible managed",
            "role_path": str(self.role),
            "lookup": lambda _file, path: Path(path).read_text(encoding="utf-8").rstrip(),
        }
        for template in [self.place / f"{self.name}.j2", *(self.place / "lib").rglob("*.j2")]:
            path = root / str(template.relative_to(self.place)).removesuffix(".j2")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(environment.from_string(template.read_text()).render(values))
        return root / self.name


_ROLES = REPOSITORY / "roles"
_LIBRARIES = "usr/local/lib/tfserving-fleet"
GATE = ShippedProgram("gate", _ROLES / "tfserving", _ROLES / "tfserving/templates/host" / _LIBRARIES)
COLLECTOR = ShippedProgram(
    "collector", _ROLES / "monitoring", _ROLES / "monitoring/templates/exporters" / _LIBRARIES / "collector"
)
