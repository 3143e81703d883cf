"""The addresses in pyproject.toml, for ComfyUI's registry: ``python -m tests.registry_files ADDRESS [VERSION]``.

ADDRESS is the public page of the repository, for example https://example.org/somebody/reganie. Writes [project.urls]
(Repository, Documentation, Bug Tracker), Icon and, if given, the version, there and in reganie_core.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.host_stubs import ROOT


def publish(root: Path, address: str, version: str = "") -> None:
    """Write what the registry asks for; a second call replaces the first one's addresses.

    Raises:
        SystemExit: an address without https, or a version that is not X.Y.Z.
    """
    address = address.rstrip("/").removesuffix(".git")
    if not re.fullmatch(r"https://[^\s\"/]+/[^\s\"]+", address):
        raise SystemExit(f"{address!r} is no address of a repository; give for example https://example.org/me/reganie.")
    if version and not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise SystemExit(f"{version!r} is no version; the registry takes X.Y.Z, higher each time.")
    path = root / "pyproject.toml"
    text = re.sub(r"\[project\.urls\]\n(?:[^\n]+\n)*\n", "", path.read_text(encoding="utf-8"))
    text = re.sub(r"^Icon = .*\n", "", text, flags=re.M)
    urls = (f'[project.urls]\nRepository = "{address}"\nDocumentation = "{address}/blob/HEAD/README.md"\n'
            f'"Bug Tracker" = "{address}/issues"\n\n')
    text = text.replace("[project.scripts]", urls + "[project.scripts]", 1)
    text = re.sub(r"^(DisplayName = .*\n)", rf'\1Icon = "{address}/raw/HEAD/docs/icon.png"\n', text, flags=re.M)
    if version:
        text = re.sub(r'^version = ".*"', f'version = "{version}"', text, count=1, flags=re.M)
        init = root / "reganie_core" / "__init__.py"
        line = re.sub(r'^__version__ = ".*"', f'__version__ = "{version}"', init.read_text("utf-8"), flags=re.M)
        init.write_text(line, encoding="utf-8")
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        raise SystemExit(__doc__)
    publish(ROOT, *sys.argv[1:])
