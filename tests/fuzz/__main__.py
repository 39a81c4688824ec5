"""Fuzz one target for a while: `python -m tests.fuzz relay_request --seconds 60`.

With atheris (`pip install atheris`) the inputs follow the branches that they reach, else Hypothesis
draws them. An input that breaks something is written into tests/fuzz/corpus/TARGET.
"""

import argparse
import hashlib
import random
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seed_of

from tests.fuzz.mutate import mutants

try:
    import atheris
except ImportError:
    atheris = None
    from tests.fuzz.targets import TARGETS
else:
    with atheris.instrument_imports(
        include=["billing", "billing_client", "waitress", "web", "worker"]
    ):
        from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    options = parser.parse_args()
    fuzz = _with_hypothesis if atheris is None else _with_atheris
    fuzz(options.target, options.seconds, options.seed)


def _kept(name: str, data: bytes) -> None:
    """Check an input, and keep it if it breaks something."""
    try:
        TARGETS[name].check(data)
    except Exception:
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
        raise


def _with_hypothesis(name: str, seconds: int, seed: int) -> None:
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:

        @seed_of(seed + count)
        @settings(
            deadline=None,
            database=None,
            max_examples=500,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(mutants(TARGETS[name].seeds))
        def check(data):
            _kept(name, data)

        check()
        count += 1
    sys.stdout.write(f"{name}: {count * 500} inputs with Hypothesis, seed {seed}\n")


def _with_atheris(name: str, seconds: int, seed: int) -> None:
    seeds = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for number, data in enumerate(TARGETS[name].seeds):
        (seeds / str(number)).write_bytes(data)
    limits = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *limits, str(seeds)], lambda data: _kept(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
