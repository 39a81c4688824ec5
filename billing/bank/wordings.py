"""The stored wording of a line, read: its transactions, its references and its texts."""

from typing import Any

from billing.statements.canonical import Reference


def parts_of(payload: dict[str, Any], amount: int) -> list[tuple[int, int, dict[str, Any]]]:
    """The (place, minor units, detail) of each transaction of a line, if they add up to it."""
    details = payload["details"]
    if details and payload["split_agrees"]:
        return [(place, detail["amount_minor"], detail) for place, detail in enumerate(details)]
    return [(0, amount, {} if details else payload)]


def references(*wordings: dict[str, Any]) -> list[Reference]:
    """The references in the structured fields, each once."""
    values = [
        Reference(**reference)
        for wording in wordings
        for reference in wording.get("references", ())
    ]
    return list(dict.fromkeys(values))


def texts(*wordings: dict[str, Any]) -> list[str]:
    """The payer's words, a notice's among them; lines of one text may break a word."""
    return [
        line
        for wording in wordings
        for line in (
            *wording.get("remittance", ()),
            *[wording[name] for name in ("end_to_end_id", "note") if wording.get(name)],
        )
    ]
