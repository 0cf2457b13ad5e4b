"""Puts what the app imports into .python_packages: the folder can then be published as it is.

The packages are those of requirements.lock, each checked against its hash, for the Linux and the Python of
the function app, whatever runs here. On that Python they are also compiled, which halves the imports of a
cold start. Azure unpacks the package with other file times, so the bytecode counts whatever the times say.
"""

import argparse
import compileall
import shutil
import subprocess
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

ROOT = Path(__file__).resolve().parents[2]
PYTHON = (3, 13)
_PLATFORMS = ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Install what the app imports, to be published.")
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT, help="that of the app")
    target = parser.parse_args().folder / ".python_packages" / "lib" / "site-packages"
    shutil.rmtree(target.parents[1], ignore_errors=True)
    if failed := subprocess.call(_install(target)):
        return failed
    if is_compiled := sys.version_info[:2] == PYTHON:
        mode = PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(target, quiet=2, workers=0, stripdir=target, invalidation_mode=mode)
    sys.stdout.write(f"Installed the app's packages in {target}{_NOTE[is_compiled]}.\n")
    return 0


_NOTE = {
    True: "",
    False: " (not compiled, which needs Python 3.13: the app will start more slowly)",
}


def _install(target: Path) -> list[str]:
    options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--target", str(target)]
    # The lock is complete and made for this Python, so pip need not judge either by the one it runs on.
    options += ["--require-hashes", "--no-deps", "--ignore-requires-python"]
    options += ["--only-binary=:all:", "--implementation=cp"]
    options += ["--python-version=" + ".".join(map(str, PYTHON))]
    options += [f"--platform={platform}" for platform in _PLATFORMS]
    pip = [sys.executable, "-m", "pip", "install"]
    return [*pip, *options, "--requirement", str(ROOT / "requirements.lock")]


if __name__ == "__main__":
    sys.exit(main())
