"""The command `python -m docs.generate`: renew the generated blocks; `--check` only looks."""

import os
import sys


def main() -> None:
    """Write the documents whose blocks have changed, or end with 1 where one must be renewed."""
    # The code can't be imported without these; nothing connects to them.
    os.environ.setdefault("DATABASE_URL", "postgresql://unused/unused")
    os.environ.setdefault("REDIS_URL", "redis://unused")
    from docs.generate.blocks import documents, renewed

    stale = [path for path in documents() if renewed(path.read_text()) != path.read_text()]
    if "--check" in sys.argv and stale:
        sys.exit(f"run `make docs`: not as the code has it: {', '.join(map(str, stale))}")
    for path in stale:
        path.write_text(renewed(path.read_text()))
        print(f"renewed {path}")


if __name__ == "__main__":
    main()
