"""Renew every generated block: `python -m docs.generate`."""

from docs.generate.blocks import documents, renewed


def main() -> None:
    """Write the documents whose blocks have changed, and name them."""
    for path in documents():
        text = path.read_text()
        if (new := renewed(text)) != text:
            path.write_text(new)
            print(f"renewed {path}")


if __name__ == "__main__":
    main()
