"""Words of returned money in a transfer's text, and what denies them."""

import re

#: Words by which payers and banks mark returned money, in the languages of SEPA.
_RETURN = (
    "(?:RETURN(?:ED)?|REFUND(?:ED)?|REVERSAL|REVERSED|CHARGEBACK|REJECT(?:ED|ION)?|RECALL(?:ED)?"
    "|STORNO|R(?:UE|Ü)CKLASTSCHRIFT|R(?:UE|Ü)CK(?:UE|Ü)BERWEISUNG|R(?:UE|Ü)CKGABE"
    "|R(?:UE|Ü)CKZAHLUNG|RETOURE|ERSTATTUNG|REMBOURSEMENT|REJET|RETOUR|STORNERING|RIMBORSO"
    "|DEVOLUCI[OÓ]N|TERUGBETALING|ZWROT)"
)
_NO = (
    "(?:NO|NOT|NOTHING|NONE|NEVER|WITHOUT|NON|AUCUNE?|PAS DE|SANS|SENZA|NESSUNA?|SIN|KEINE?"
    "|NICHTS?|OHNE|GEEN|ZONDER|INGEN|BRAK|BEZ)"
)
_RETURN_WORDS = re.compile(rf"\b{_RETURN}\b")
#: A word that denies the next one, or a code of 0 behind it: Swiss banks put `?REJECT?0` into every
#: credit whose reference they could read.
_NO_RETURN = re.compile(
    rf"\b{_NO} (?:WAS |HAS BEEN )?{_RETURN}\b"
    rf"|\b{_RETURN}(?:[ -]?(?:CODE|REASON|STATUS))?[ ?:=/-]+(?:0{{1,3}}|NONE)\b(?![ .,]?[0-9])"
)


def mentions_return(text: str) -> bool:
    """Whether a normalised text speaks of returned money; "nothing rejected" does not."""
    return bool(_RETURN_WORDS.search(_NO_RETURN.sub(" ", text)))
