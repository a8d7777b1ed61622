"""Apache Kafka's jars for the tests: fetched once by Maven, checked against a committed list on every set-up.

``python -m tests.kafka.artifacts`` (``make jars``) does both and prints where they are. The folder is
``$XDG_CACHE_HOME/ingestd/kafka-<hash of the list>``, so that two checkouts with different lists do not share one.
A *release* is a folder here with a ``pom.xml`` and a list.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
"""The release that is tested with: its ``pom.xml`` and its list."""
OLDEST = HERE / "kafka-2.1.1"
NEWEST = HERE / "kafka-4.2.0"
LIST_NAME = "artifacts.sha256"


class ArtifactError(Exception):
    """The jars are absent and cannot be fetched, or one is not what the list says."""


def read_list(release: Path = HERE) -> dict[str, str]:
    """Jar name → SHA-256 in hex, from the committed list (the format of ``sha256sum``)."""
    lines = (release / LIST_NAME).read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def cache_folder(release: Path = HERE) -> Path:
    """Where the jars of this list live; outside the repository, because they outlive a checkout."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "ingestd" / f"kafka-{hashlib.sha256((release / LIST_NAME).read_bytes()).hexdigest()[:12]}"


def digests(folder: Path) -> dict[str, str]:
    """Jar name → SHA-256 in hex of what is in ``folder``."""
    found = {}
    for jar in sorted(folder.glob("*.jar")):
        with jar.open("rb") as file:
            found[jar.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def fetch(folder: Path, release: Path = HERE) -> None:
    """Has Maven copy the jars of ``pom.xml`` into ``folder``."""
    if shutil.which("mvn") is None:
        raise ArtifactError("Maven is needed to fetch Apache Kafka; on Debian and Ubuntu: sudo apt-get install maven")
    command = [
        "mvn",
        "-B",
        "-q",
        "-f",
        str(release / "pom.xml"),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={folder}",
    ]
    outcome = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        raise ArtifactError(f"{' '.join(command)} ended with {outcome.returncode}:\n{outcome.stdout}{outcome.stderr}")


def check(folder: Path, release: Path = HERE) -> None:
    """Raises unless every jar of the list is in ``folder`` with its digest and no other jar is there."""
    wanted, found = read_list(release), digests(folder)
    faults = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    faults += [f"{name} is not in the list" for name in sorted(found.keys() - wanted.keys())]
    faults += [
        f"{name} has digest {found[name]}"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    ]
    if faults:
        raise ArtifactError(f"{folder} does not agree with {release / LIST_NAME}: " + "; ".join(faults))


def jars(release: Path = HERE) -> list[Path]:
    """The checked jars, fetched first where they are absent; in the list's order, which fixes the class path."""
    folder = cache_folder(release)
    accept = os.environ.get("INGESTD_ACCEPT_ARTIFACTS") == "1"
    if accept or not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Fetched beside its place, checked, then renamed: several suites may do this at once, and a folder that has
        # its name is whole.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as scratch:
            fresh = Path(scratch) / "jars"
            fetch(fresh, release)
            if accept:
                (release / LIST_NAME).write_text(
                    "".join(f"{digest}  {name}\n" for name, digest in digests(fresh).items())
                )
                folder = cache_folder(release)
            check(fresh, release)
            try:
                fresh.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    check(folder, release)
    return [folder / name for name in read_list(release)]


def main() -> int:
    """Fetches and checks; prints the folder, or the fault."""
    try:
        found = jars()
    except ArtifactError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"Apache Kafka: {len(found)} jars checked in {found[0].parent}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
