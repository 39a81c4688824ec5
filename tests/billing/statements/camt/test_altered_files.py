"""Files altered in any place: read alike however they arrive, and refused only by name."""

import io
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.statements import draft
from billing.statements.camt import parser
from billing.statements.camt.reader import read_camt
from billing.statements.draft import Budget
from billing.statements.errors import (
    MalformedXml,
    MarkupInText,
    StatementRefused,
    TooDeep,
    TooManyEntries,
    TooManyNames,
    TooManyUnits,
)
from tests.billing.statements.writing import (
    NAMESPACE,
    OWN_IBAN,
    PAYER_IBAN,
    balance,
    batch,
    entry,
    transaction,
)
from tests.billing.statements.writing import camt as write_camt

PARTIES = (
    "<RltdPties><Dbtr><Pty><Nm>Payer</Nm></Pty></Dbtr>"
    f"<DbtrAcct><Id><IBAN>{PAYER_IBAN}</IBAN></Id></DbtrAcct>\n"
    f"<CdtrAcct><Id><IBAN>{OWN_IBAN}</IBAN></Id></CdtrAcct></RltdPties>"
)
STRUCTURED = (
    "<Strd><CdtrRefInf><Tp><CdOrPrtry><Cd>SCOR</Cd></CdOrPrtry></Tp><Ref>RF18539007547034</Ref>"
    "</CdtrRefInf><AddtlRmtInf>more</AddtlRmtInf></Strd>"
)
ENTRY_KINDS = [
    entry(),
    entry(details=batch(transaction(PARTIES, amount="10.00"))),
    entry(
        mark="DBIT",
        details=batch(
            transaction(
                "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>",
                remittance=f"<Ustrd>one</Ustrd>\n<Ustrd>two</Ustrd>{STRUCTURED}",
            )
        ),
    ),
    entry(details=batch(transaction(amount="4.00"), "\n", transaction(amount="6.00"))),
    entry(currency="USD", more="<RvslInd>true</RvslInd>"),
]
# What may stand in a file instead of something else: right, odd, and malformed.
SCRAPS = [
    "", " ", "\n", "\r\n", "\r", "\t", "&amp;", "&#10;", "&x;", "<", ">", "]]>", "\0", "\x01", "\x7f",
    "\ufffe", "ü", "\u00a0", "\U0001f600", "<!-- x -->", "<!-- <Ntry>", "-->", "<![CDATA[", "]]>",
    "<![CDATA[<Ntry></Ntry>]]>", "<?x y?>", "<Ntry>", "</Ntry>", "</Ntry\n>", "<Ntry >", "<Ntry/>",
    "&lt;/Ntry>", "<Ntry a='b'>", '<Ntry xmlns="urn:x">', "<x:a/>", '<a xmlns="">', "</a>", "<a>",
    "<a/>", '<Amt Ccy="EUR">1.00</Amt>', '<Amt Ccy="EUR" Ccy="EUR">', '<Amt Ccy="X&amp;Y">',
    "<CdtDbtInd>DBIT</CdtDbtInd>", "<Sts/>", "<TxDtls>", "</TxDtls>", "<NtryDtls><TxDtls/></NtryDtls>",
    "10.00", "1.234", "x", "EUR", "</Stmt>", "</Stmt><Stmt>", "</Stmt></BkToCstmrStmt><BkToCstmrStmt><Stmt>",
    balance("OPBD", "0.00"), "<TxsSummry><TtlNtries><NbOfNtries>9</NbOfNtries></TtlNtries></TxsSummry>",
    "2026-02-30", "NOTPROVIDED", *ENTRY_KINDS,
]  # fmt: skip


def _read(text, chunk=65_536):
    """The statements of a file with their entries, or the class and the message of its refusal."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parser, "_CHUNK", chunk)
        try:
            statements = read_camt(io.BytesIO(data), Budget())
        except StatementRefused as refusal:
            return type(refusal), str(refusal)
        return [(statement, list(statement.entries)) for statement in statements]


def _is_well_formed(text):
    # blank lines before the declaration are ours to accept
    try:
        ET.fromstring(text.lstrip(" \t\r\n").encode("utf-8", "surrogatepass"))
    except ET.ParseError:
        return False
    return True


def _read_in_pieces(text, chunk):
    """Read a file, and compare the outcome with small chunks and ElementTree."""
    outcome, in_pieces = _read(text), _read(text, chunk)
    if outcome[:1] == in_pieces[:1] == (MalformedXml,):
        return outcome  # where two things are wrong, the parser names the first that it is given
    assert outcome == in_pieces
    assert isinstance(outcome, tuple) or _is_well_formed(text)
    return outcome


@settings(max_examples=400, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(ENTRY_KINDS), min_size=3, max_size=12),
    between=st.sampled_from(["", "\n", "\r\n", "  "]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(SCRAPS)), max_size=4),
    chunk=st.sampled_from([40, 300, 1_000]),
)  # fmt: skip
def test_a_file_altered_anywhere_reads_alike_in_chunks_of_any_size(kinds, between, changes, chunk):
    text = write_camt(*[kind + between for kind in kinds], closing="10.00")
    for place, length, scrap in changes:
        at = int(place * len(text))
        text = text[:at] + scrap + text[at + length :]

    _read_in_pieces(text, chunk)


@settings(max_examples=400, deadline=None)
@given(
    kind=st.sampled_from(ENTRY_KINDS),
    changes=st.lists(
        st.tuples(st.sampled_from(["drop", "double", "swap", "scrap"]), st.integers(0, 60), st.sampled_from(SCRAPS)),
        max_size=3,
    ),
    cut=st.sampled_from([None, None, None, 0.5, 0.9]),
    chunk=st.sampled_from([40, 300, 1_000]),
)  # fmt: skip
def test_elements_dropped_doubled_and_swapped_read_alike_in_chunks_of_any_size(
    kind, changes, cut, chunk
):
    tokens = kind.replace("<", "\0<").replace(">", ">\0").split("\0")
    for change, place, scrap in changes:
        at = place % len(tokens)
        if change == "drop":
            del tokens[at : at + 3]
        elif change == "double":
            tokens[at:at] = tokens[at : at + 4]
        elif change == "swap":
            tokens[at : at + 8] = tokens[at + 4 : at + 8] + tokens[at : at + 4]
        else:
            tokens.insert(at, scrap)
        tokens = tokens or [""]
    altered = "".join(tokens)
    text = write_camt(kind, altered, kind, altered, altered, closing="10.00")

    _read_in_pieces(text if cut is None else text[: int(len(text) * cut)], chunk)


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(st.text(max_size=12), min_size=1, max_size=6),
    chunk=st.sampled_from([40, 300, 1_000]),
)
def test_any_text_in_an_entry_reads_alike_in_chunks_of_any_size(texts, chunk):
    first = entry(details=batch(transaction(remittance="<Ustrd>first</Ustrd>")))

    _read_in_pieces(write_camt(first, *[first.replace("first", text) for text in texts]), chunk)


def test_entries_read_one_by_one_and_together_are_the_same():
    kinds = [kind + "\n" for kind in ENTRY_KINDS]

    [(_, together)] = _read(write_camt(*kinds * 2))

    alone = [_read(write_camt(kind))[0][1][0] for kind in kinds * 2]
    assert [item._replace(position="") for item in together] == [
        item._replace(position="") for item in alone
    ]


def test_windows_line_ends_make_no_difference():
    text = write_camt(*[kind.replace("><", ">\n<") + "\n" for kind in ENTRY_KINDS * 3])

    assert _read(text.replace("\n", "\r\n")) == _read(text)


@pytest.mark.parametrize(
    "noise", ["<!-- {} -->", "<Other><![CDATA[{}]]></Other>", "<?x {}?>", "<Other>{}</Other>", '<a xmlns="b">{}</a>']
)  # fmt: skip
def test_entries_inside_something_else_are_not_read(noise):
    hidden = noise.format(entry() * 5)

    [(statement, entries)] = _read(write_camt(entry(), entry(), entry(), hidden, entry()))

    assert len(entries) == 4
    assert statement.is_held


def test_an_entry_of_another_namespace_is_passed_over_after_one_of_ours():
    ours = entry().replace("<Ntry>", f'<Ntry xmlns="{NAMESPACE}">')
    other = f'<x:Stmt xmlns="b" xmlns:x="{NAMESPACE}">{ours}{entry() * 3}</x:Stmt>'
    text = write_camt(*[entry()] * 4).replace("</Stmt>", f"</Stmt>{other}")

    [(_, first), (_, second)] = _read(text)

    assert (len(first), len(second)) == (4, 1)


@pytest.mark.parametrize("text", ["a]]>b", "\ufffe", "\uffff", "\x01", "&x;"])
def test_text_that_xml_forbids_is_refused_in_a_later_entry_too(text):
    first = entry(details=batch(transaction(remittance="<Ustrd>first</Ustrd>")))

    kind, _ = _read(write_camt(first, first, first, first.replace("first", text)))

    assert kind is MalformedXml


def test_bytes_that_are_utf_8_by_chance_are_read_as_declared():
    details = batch(transaction(remittance="<Ustrd>MÃ¼ller</Ustrd>"))
    declared = '<?xml version="1.0" encoding="iso-8859-1"?>'

    [(_, entries)] = _read(
        write_camt(*[entry(details=details)] * 4, declaration=declared).encode("iso-8859-1")
    )

    assert [item.only_detail.remittance for item in entries] == [("MÃ¼ller",)] * 4


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "windows-1252", "utf-16"])
def test_the_encoding_makes_no_difference(encoding):
    details = batch(transaction(remittance="<Ustrd>Müller</Ustrd>"))
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'
    data = write_camt(*[entry(details=details)] * 4, declaration=declared).encode(encoding)

    [(_, entries)] = _read(data)

    assert [item.only_detail.remittance for item in entries] == [("Müller",)] * 4


def test_a_text_between_elements_is_refused_with_its_line():
    odd = entry().replace("</Amt>", "</Amt>odd")

    kind, message = _read(write_camt(entry(), entry(), "\n", odd))

    assert kind is MarkupInText
    assert "line 2" in message


def test_more_different_names_than_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(parser, "MAX_XML_NAMES", 60)
    many = [entry(more=f"<a{number}/>") for number in range(70)]

    kind, _ = _read(write_camt(*many), chunk=300)

    assert kind is TooManyNames


@pytest.mark.parametrize("limit", [20, 21, 22, 23])
def test_more_units_than_the_limit_are_refused(monkeypatch, limit):
    monkeypatch.setattr(parser, "MAX_XML_UNITS", limit)
    details = batch(transaction(), transaction())

    kind, _ = _read(write_camt(*[entry(details=details)] * 10))

    assert kind is TooManyUnits


def test_an_entry_too_deep_in_its_envelope_is_refused(monkeypatch):
    monkeypatch.setattr(parser, "MAX_XML_DEPTH", 9)
    details = batch(transaction())
    shallow = write_camt(*[entry(details=details)] * 3, declaration="")
    deep = write_camt(entry(), entry(details=details), declaration="")

    kind, _ = _read(f"<e>{shallow}<e><e>{deep}</e></e></e>")

    assert kind is TooDeep


def test_holds_and_the_budget_name_the_line_of_the_entry(monkeypatch):
    monkeypatch.setattr(draft, "MAX_ENTRIES", 10)
    impossible = entry().replace("2026-01-31", "2026-02-30") + "\n"

    [(statement, _)] = _read(write_camt(*[impossible] * 8, closing="80.00"))
    kind, message = _read(write_camt(*[impossible] * 11))

    assert statement.holds[3].position.startswith("line 4,")
    assert kind is TooManyEntries
    assert "line 11" in message
