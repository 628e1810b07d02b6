"""What an installation of the package brings with it: whether it fits together, under which licences, and what is known
to be wrong with it.

Looks at the environment of the Python that runs it, and in there only at what the package and its extras require. Known
vulnerabilities are asked of pip-audit's service. Where that does not answer, or knows none of the packages, the report
says that nothing was asked: silence is no good news.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ALLOWED: Final = re.compile(
    r"(the )?(osi approved :: )?(new |modified |simplified |[23]-clause )?"
    r"(apache|mit|bsd|0bsd|isc|psf|python software foundation|zlib|cc0|hpnd|unlicense"
    r"|mpl[- ]2|mozilla public license 2)\b",
    re.IGNORECASE,
)
"""How the names of licences begin that let anybody use and pass on the package beside code of another licence."""
SECONDS: Final = 300


@dataclass
class Package:
    """An installed package, and who asks for it."""

    name: str
    version: str
    licence: str
    """As its metadata says; empty if they do not."""

    wanted: dict[str, str] = field(default_factory=dict)
    """By whom: which versions."""

    unmet: list[str] = field(default_factory=list)
    """Its requirements that are not met."""

    @property
    def allowed(self) -> bool:
        """Whether every part of its licence is one of the known; of alternatives, one."""
        parts = re.split(r"\s+and\s+|,", self.licence, flags=re.IGNORECASE)
        return all(
            any(ALLOWED.match(one.strip("() ")) for one in re.split(r"\s+or\s+", part, flags=re.I)) for part in parts
        )


def closure(name: str, extras: Sequence[str]) -> dict[str, Package]:
    """All that a package requires with these extras, and itself, by name."""
    found: dict[str, Package] = {}
    _add(found, name, frozenset(extras), set())
    return dict(sorted(found.items()))


def _add(found: dict[str, Package], name: str, extras: frozenset[str], done: set[tuple[str, frozenset[str]]]) -> None:
    if (name, extras) in done:
        return
    done.add((name, extras))
    distribution = metadata.distribution(name)
    package = found.setdefault(name, Package(name, distribution.version, licence_of(distribution)))
    for requirement in map(Requirement, distribution.requires or ()):
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            continue
        wanted = canonicalize_name(requirement.name)
        try:
            version = metadata.version(wanted)
        except metadata.PackageNotFoundError:
            package.unmet.append(f"{requirement}, which is not installed")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            package.unmet.append(f"{requirement}, but {version} is installed")
        _add(found, wanted, frozenset(requirement.extras), done)
        if wanted != name:
            found[wanted].wanted[name] = str(requirement.specifier) or "any"


def licence_of(distribution: metadata.Distribution) -> str:
    """The expression; else the classifiers, where a list means a choice; else the first line of the text."""
    said = distribution.metadata
    if expression := said.get("License-Expression"):
        return str(expression)
    classifiers = [
        one.rpartition(" :: ")[2] for one in said.get_all("Classifier") or () if one.startswith("License ::")
    ]
    text = str(said.get("License") or "").strip()
    return " OR ".join(classifiers) or text.partition("\n")[0]


def vulnerabilities(pip_audit: str, packages: Sequence[Package]) -> Iterator[tuple[bool, str]]:
    """What the service says: (whether it is bad news, a line)."""
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "requirements.txt")
        pins.write_text("".join(f"{one.name}=={one.version}\n" for one in packages))
        options = [
            "--requirement",
            str(pins),
            "--no-deps",
            "--disable-pip",
            "--format",
            "json",
            "--progress-spinner",
            "off",
        ]
        try:
            done = subprocess.run([pip_audit, *options], capture_output=True, text=True, timeout=SECONDS, check=False)
            answers = json.loads(done.stdout)["dependencies"]
        except subprocess.TimeoutExpired:
            yield False, f"NOT AUDITED: no answer of the service within {SECONDS} s"
            return
        except (ValueError, KeyError):
            last = (done.stderr.strip() or "no output").splitlines()[-1]
            yield False, f"NOT AUDITED: pip-audit ended with {done.returncode}: {last[:200]}"
            return
    skipped = sorted(answer["name"] for answer in answers if "skip_reason" in answer)
    asked = len(answers) - len(skipped)
    if not asked:
        yield (
            False,
            f"NOT AUDITED: the service knows none of {len(skipped)} packages, so it is not the one that is meant",
        )
        return
    yield False, f"{asked} packages were looked up"
    if skipped:
        yield False, f"NOT AUDITED, as the service does not know them: {', '.join(skipped)}"
    for answer in answers:
        for one in answer.get("vulns", ()):
            fixed = ", ".join(one["fix_versions"]) or "no version yet"
            yield True, f"{answer['name']} {answer['version']}: {one['id']}, fixed in {fixed}"


def report(name: str, extras: Sequence[str], pip_audit: str | None) -> int:
    """Print it; 0 if there is no bad news, else 1."""
    packages = closure(name, extras)
    others = [one for key, one in packages.items() if key != name]
    bad = []
    print(f"{name} with [{','.join(extras)}] brings {len(others)} packages:")
    for one in others:
        by = "; ".join(f"{who} {versions}" for who, versions in sorted(one.wanted.items()))
        print(f"  {one.name} {one.version} | {one.licence or 'no licence named'} | {by}")
        if not one.allowed:
            bad.append(f"{one.name}: licence {one.licence or '(none named)'!r} is not among those that are allowed")
    bad += [f"{one.name} requires {unmet}" for one in packages.values() for unmet in one.unmet]
    if pip_audit is None:
        print("NOT AUDITED: no pip-audit was named")
    else:
        for is_bad, line in vulnerabilities(pip_audit, others):
            print(f"known vulnerabilities: {line}")
            bad += [line] if is_bad else []
    for line in bad:
        print(f"error: {line}")
    return 1 if bad else 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", default="ovms")
    parser.add_argument("--extras", default="all", help="with commas between")
    parser.add_argument("--pip-audit", help="the program")
    given = parser.parse_args()
    return report(canonicalize_name(given.package), [one for one in given.extras.split(",") if one], given.pip_audit)


if __name__ == "__main__":
    sys.exit(main())
