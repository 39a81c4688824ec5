"""Ask PyPI for known vulnerabilities of the lock's packages, with pip-audit: `make audit`.

pip-audit lives in .outside/, for it is no dependency of ours. Where it can't be installed, or its
service can't be reached, that is said in one line, and nothing fails.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
FOLDER = ROOT / ".outside" / "pip-audit"
WANTED = "pip-audit>=2.10,<3"
#: Vulnerabilities that can't harm us -> the reason.
ACCEPTED: dict[str, str] = {}


def main() -> int:
    """Audit the lock; 1 if a package has a known vulnerability."""
    program = _installed()
    if program is None:
        sys.stdout.write(f"not audited: {WANTED} can't be installed\n")
        return 0
    packages = LOCK.read_text().replace(" \\\n", " ").splitlines()
    # One first: without the service, a hundred questions would have no answer either.
    for asked in (packages[:1], packages):
        code, line = verdict(_answer(program, asked))
        if code or line.startswith("not audited"):
            break
    sys.stdout.write(f"{line}\n")
    return code


def _installed() -> Path | None:
    program = FOLDER / "bin" / "pip-audit"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
        pip = [FOLDER / "bin" / "python", "-m", "pip", "install", "-qq", "--retries", "1"]
        options = ["--timeout", "15", "--disable-pip-version-check"]
        subprocess.run([*pip, *options, WANTED], check=False, stderr=subprocess.DEVNULL)
    return program if program.exists() else None


def _answer(program: Path, packages: list[str]) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(packages))
        file.flush()
        options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off"]
        ignored = [word for name in ACCEPTED for word in ("--ignore-vuln", name)]
        command = [program, "-r", file.name, "-f", "json", "--timeout", "10", *options, *ignored]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def verdict(answer: str) -> tuple[int, str]:
    """Return the exit code and the lines to print for pip-audit's JSON."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        return 0, "not audited: the service of pip-audit can't be reached"
    asked = [package for package in packages if "skip_reason" not in package]
    found = [
        f"{package['name']} {package['version']}: {vulnerability['id']}"
        f" (repaired in {', '.join(vulnerability['fix_versions']) or 'no version'})"
        for package in asked
        for vulnerability in package["vulns"]
    ]
    if found:
        return 1, "\n".join(found)
    if not asked:
        return 0, "not audited: the service of pip-audit knows none of the packages"
    missing = len(packages) - len(asked)
    rest = f"; {missing} are not known there" if missing else ""
    return 0, f"no known vulnerability in {len(asked)} packages{rest}"


if __name__ == "__main__":
    sys.exit(main())
