"""Files as large as one may be, each of a shape that would fill the memory of a careless reader.

Run as a program with the name of a shape: prints what became of the file, and the MB it took.
"""

import sys
import tempfile
from pathlib import Path
from typing import IO

from billing.statements.errors import StatementRefused
from billing.statements.read import read_statements

_HEAD = (
    "<Document><BkToCstmrStmt><Stmt><Id>S</Id><Acct><Id><IBAN>DE02120300000000202051</IBAN></Id>"
    "<Ccy>EUR</Ccy></Acct>"
)
_TAIL = "</Stmt></BkToCstmrStmt></Document>"
_MARKS = (
    '<Amt Ccy="EUR">1.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts>'
    "<ValDt><Dt>2026-01-31</Dt></ValDt>"
)
# One character beyond the first plane makes Python keep four bytes for each of the text.
_LONG = "x" * 120_000 + "\U0001f600"


def _dates(number):
    return f"<Ntry>{_MARKS}<BookgDt><Dt>{number}{_LONG}</Dt></BookgDt></Ntry>"


def _texts(number):
    text = f"<TxDtls><RmtInf><Ustrd>{number}{_LONG}</Ustrd></RmtInf></TxDtls>"
    return f"<Ntry>{_MARKS}<NtryDtls>{text}</NtryDtls></Ntry>"


def _transactions(number):
    return f"<TxDtls><RmtInf><Ustrd>{number}{_LONG}</Ustrd></RmtInf></TxDtls>"


def _names(number):
    tags = "".join(f"<t{number}x{place}/>" for place in range(5_000))
    return f"<Ntry>{_MARKS}{tags}</Ntry>"


def _attributes(number):
    named = " ".join(f'a{number}x{place}=""' for place in range(5_000))
    return f"<Ntry>{_MARKS}<a {named}/></Ntry>"


def _references(_):
    details = "<TxDtls><RmtInf>" + "<Strd/>" * 900 + "</RmtInf></TxDtls>"
    return f"<Ntry>{_MARKS}<NtryDtls>{details}</NtryDtls></Ntry>"


def _balances(_):
    return f"<Bal><Tp><Cd>OPBD</Cd></Tp>{_MARKS}</Bal>" * 1_000


#: name -> what stands before, what is repeated, how often, what stands behind
SHAPES = {
    "long dates": ("", _dates, 400, ""),
    "long texts": ("", _texts, 400, ""),
    "one batch of long texts": (f"<Ntry>{_MARKS}<NtryDtls>", _transactions, 400, "</NtryDtls></Ntry>"),
    "names without end": ("", _names, 100, ""),
    "attributes without end": ("", _attributes, 100, ""),
    "references without end": ("", _references, 1_000, ""),
    "balances without end": ("", _balances, 100, ""),
}  # fmt: skip
OUTCOMES = {
    "long dates": "400",
    "long texts": "400",
    "one batch of long texts": "1",
    "names without end": "TooManyNames",
    "attributes without end": "TooManyNames",
    "references without end": "TooManyUnits",
    "balances without end": "TooManyEntries",
}


def _write(shape: str, out: IO[bytes]) -> None:
    before, repeated, times, behind = SHAPES[shape]
    out.write(f"{_HEAD}{before}".encode())
    for number in range(times):
        out.write(repeated(number).encode())
    out.write(f"{behind}{_TAIL}".encode())


def _peak_kilobytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def _main(shape: str) -> None:
    with tempfile.TemporaryFile() as file:
        _write(shape, file)
        before = _peak_kilobytes()
        try:
            [statement] = read_statements(file)
            outcome = str(sum(1 for _ in statement.entries))
        except StatementRefused as refusal:
            outcome = type(refusal).__name__
    sys.stdout.write(f"{outcome} {(_peak_kilobytes() - before) / 1024}\n")


if __name__ == "__main__":
    _main(sys.argv[1])
