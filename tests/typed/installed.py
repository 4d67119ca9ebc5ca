"""Builds the wheel, installs it into `.cache/types` and prints the Python that sees it.

Type checkers do not follow an editable install of mapped folders. So types are checked on the built
and installed wheel, which also proves that the wheel is complete. The environment holds the wheel
alone; its dependencies are read from the environment that runs this file. Nothing is done if no
source changed since the last time.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("actors", "supervisors", "runtime")
HOME = ROOT / ".cache" / "types"
PYTHON = HOME / "bin" / "python"


def fingerprint() -> str:
    """Return a hash of every file that goes into the wheel, and of the Python it is for."""
    files = [ROOT / "pyproject.toml", ROOT / "setup.py"]
    for package in PACKAGES:
        files += sorted(path for path in (ROOT / package).rglob("*") if is_source(path))
    digest = hashlib.sha256(sys.version.encode() + sys.prefix.encode())
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_source(path: Path) -> bool:
    """Say whether a path is a file that the wheel holds."""
    return path.is_file() and path.suffix in {".py", ".typed"}


def build(folder: Path) -> Path:
    """Build the wheel in a copy of the project, so that no left-over of an older build gets in."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    run("build", "--wheel", "--quiet", "--out-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install() -> None:
    """Make the environment anew: the wheel installed, the dependencies seen through a path file."""
    shutil.rmtree(HOME, ignore_errors=True)
    venv.create(HOME, with_pip=False)
    wheel = build(HOME / "wheel")
    run("pip", "install", "--quiet", "--no-deps", "--python", str(PYTHON), str(wheel))
    site = next(HOME.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")


def run(*command: str) -> None:
    """Run uv, and show what it said only if it failed."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", *command], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"uv {' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def main() -> None:
    """Bring the environment up to date under a lock: test processes run side by side."""
    HOME.parent.mkdir(exist_ok=True)
    stamp = HOME / "stamp"
    with (HOME.parent / "types.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        now = fingerprint()
        if not stamp.exists() or stamp.read_text() != now:
            install()
            stamp.write_text(now)
    sys.stdout.write(f"{PYTHON}\n")


if __name__ == "__main__":
    main()
