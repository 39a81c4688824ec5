"""Reading 100,000 entries of camt and MT940: speed and memory. Both files are generated here."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

from bench.measure import Row

ENTRIES = 100_000

CAMT_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>
<GrpHdr><MsgId>M1</MsgId></GrpHdr><Stmt><Id>S1</Id>
<Acct><Id><IBAN>DE02120300000000202051</IBAN></Id><Ccy>EUR</Ccy></Acct>
"""
_CAMT_ENTRY = """<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>
<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-01-31</Dt></BookgDt><ValDt><Dt>2026-01-31</Dt></ValDt>
<AcctSvcrRef>BANK{number:012d}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd>
<Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>
<NtryDtls><TxDtls><Refs><EndToEndId>E2E-{number}</EndToEndId></Refs>
<Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>
<RltdPties><Dbtr><Pty><Nm>Customer {number}</Nm></Pty></Dbtr>
<DbtrAcct><Id><IBAN>DE89370400440532013000</IBAN></Id></DbtrAcct></RltdPties>
<RmtInf><Ustrd>Invoice {number} of January</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>
"""
CAMT_BALANCE = (
    '<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{amount}</Amt>'
    "<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-31</Dt></Dt></Bal>\n"
)


def _amount(number: int, mark: str) -> str:
    return f"{number % 900 + 1}{mark}{number % 100:02d}"


def _total_minor(entries: int) -> int:
    return sum((number % 900 + 1) * 100 + number % 100 for number in range(entries))


def write_camt(out: BinaryIO, entries: int) -> None:
    """Write a balanced camt.053 with this many booked credits."""
    total = f"{_total_minor(entries) // 100}.{_total_minor(entries) % 100:02d}"
    out.write(CAMT_HEAD.encode())
    out.write(CAMT_BALANCE.format(kind="OPBD", amount="0.00").encode())
    out.write(CAMT_BALANCE.format(kind="CLBD", amount=total).encode())
    out.writelines(
        _CAMT_ENTRY.format(number=number, amount=_amount(number, ".")).encode()
        for number in range(entries)
    )
    out.write(b"</Stmt></BkToCstmrStmt></Document>\n")


def write_mt940(out: BinaryIO, entries: int) -> None:
    """Write a balanced MT940 with this many booked credits."""
    out.write(
        b":20:STARTUMS\r\n:25:12030000/0000202051\r\n:28C:00001/001\r\n:60F:C260130EUR0,00\r\n"
    )
    out.writelines(
        f":61:2601310131C{_amount(number, ',')}NTRFE2E-{number}//BANK{number:012d}\r\n"
        f":86:166?00GUTSCHRIFT?20EREF+E2E-{number}?21SVWZ+Invoice {number} of Janu?22ary\r\n"
        f"?30COBADEFFXXX?31DE89370400440532013000?32Customer {number}\r\n".encode()
        for number in range(entries)
    )
    total = _total_minor(entries)
    out.write(f":62F:C260131EUR{total // 100},{total % 100:02d}\r\n-\r\n".encode())


WRITERS = {"bank_read_camt": write_camt, "bank_read_mt940": write_mt940}


def _peak_kilobytes() -> int:
    """Return this process's peak memory; getrusage's would begin with the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def _measure(path: str) -> None:
    """Read the file; print entries, CPU seconds and MB above the imports.

    Runs in a process of its own.
    """
    from billing.statements.read import read_statements  # counted apart from the imports

    before = _peak_kilobytes()
    started = time.process_time()
    with Path(path).open("rb") as source:
        count = sum(1 for statement in read_statements(source) for _ in statement.entries)
    seconds = time.process_time() - started
    print(count, seconds, (_peak_kilobytes() - before) / 1024)


def rows(entries: int = ENTRIES) -> list[Row]:
    """Return a row for each format: entries a CPU second, CPU ms for each, peak MB above the imports."""
    measured = []
    for name, write in WRITERS.items():
        with tempfile.NamedTemporaryFile() as file:
            write(file, entries)  # type: ignore[arg-type]  # typeshed's wrapper is no BinaryIO
            file.flush()
            command = [sys.executable, "-m", "bench.bank_read", file.name]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        count, seconds, megabytes = output.split()
        cpu_ms = float(seconds) * 1000 / int(count)
        measured.append(
            Row(name, int(count) / float(seconds), round(cpu_ms, 4), mb=round(float(megabytes), 1))
        )
    return measured


if __name__ == "__main__":
    _measure(sys.argv[1])
