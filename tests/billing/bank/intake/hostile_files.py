"""Files made to break an import, by format: BANK's list of hostile and awkward inputs, as bytes.

Each is (what it is, its bytes, what must become of it): `read`, `held` with its reasons, or
`refused` with the name of the error. Large ones are made when they are asked for.
"""

import gzip
import io
import stat
import zipfile

from tests.billing.statements.writing import (
    NAMESPACE,
    bai2,
    batch,
    camt,
    entry,
    mt940,
    ofx,
    stmttrn,
    transaction,
)

XML = '<?xml version="1.0" encoding="UTF-8"?>'
GOOD = camt(entry(), closing="10.00")
LAUGHS = '<!ENTITY a0 "ha">' + "".join(
    f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9)
)
INCLUDE = '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/>'


def _amount(text, **more):
    return camt(entry(text, **more), closing="10.00")


def _details(inner, **more):
    return camt(entry(details=batch(transaction(inner, **more))), closing="10.00")


def _zip(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _link():
    packed = io.BytesIO()
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    return packed.getvalue()


def _xml_of(declaration):
    return camt(entry(), closing="10.00", declaration=declaration)


XML_FILES = [
    ("a bare DOCTYPE", _xml_of(f"{XML}<!DOCTYPE Document>"), "refused DoctypeRefused"),
    (
        "an external entity",
        _xml_of(f'{XML}<!DOCTYPE D [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        "refused DoctypeRefused",
    ),
    (
        "a parameter entity",
        _xml_of(f'{XML}<!DOCTYPE D [<!ENTITY % x SYSTEM "http://127.0.0.1/x"> %x;]>'),
        "refused DoctypeRefused",
    ),
    (
        "an internal entity",
        _xml_of(f'{XML}<!DOCTYPE D [<!ENTITY amt "9.00">]>'),
        "refused DoctypeRefused",
    ),
    ("billion laughs", _xml_of(f"{XML}<!DOCTYPE D [{LAUGHS}]>"), "refused DoctypeRefused"),
    (
        "quadratic blow-up",
        _xml_of(f'{XML}<!DOCTYPE D [<!ENTITY q "{"q" * 50_000}">]>'),
        "refused DoctypeRefused",
    ),
    ("an entity that nobody declared", _amount("&amt;"), "refused MalformedXml"),
    (
        "200,000 levels",
        lambda: camt(entry(more="<a>" * 200_000 + "</a>" * 200_000)),
        "refused TooDeep",
    ),
    (
        "a text of 10 MB",
        lambda: _details("", remittance=f"<Ustrd>{'x' * 10_000_000}</Ustrd>"),
        "refused ElementTooLarge",
    ),
    (
        "a million attributes",
        lambda: camt("<Ntry " + " ".join(f'a{number}="1"' for number in range(1_000_000)) + "/>"),
        "refused ElementTooLarge",
    ),
    ("a comment inside the amount", _amount("1<!-- x -->0.00"), "read"),
    ("an instruction inside the amount", _amount("1<?x y?>0.00"), "read"),
    ("CDATA as amount", _amount("<![CDATA[10.00]]>"), "read"),
    ("an element inside the amount", _amount("1<b/>0.00"), "refused MarkupInText"),
    ("UTF-16", _xml_of('<?xml version="1.0" encoding="UTF-16"?>').encode("utf-16"), "read"),
    ("a byte order mark", GOOD.encode("utf-8-sig"), "read"),
    ("no declaration", _xml_of(""), "read"),
    (
        "Latin-1 declared as UTF-8",
        _details("", remittance="<Ustrd>Müller</Ustrd>").encode("iso-8859-1"),
        "refused MalformedXml",
    ),
    (
        "an encoding that nobody knows",
        _xml_of('<?xml version="1.0" encoding="no-such-thing"?>'),
        "refused EncodingRefused",
    ),
    (
        "EBCDIC",
        _xml_of('<?xml version="1.0" encoding="EBCDIC-CP-US"?>'),
        "refused EncodingRefused",
    ),
    ("two documents", GOOD + GOOD.replace(XML, ""), "refused MalformedXml"),
    ("truncation", GOOD[:-80], "refused MalformedXml"),
    ("no namespace", camt(entry(), closing="10.00", namespace=""), "read"),
    (
        "a foreign prefix",
        GOOD.replace("<", "<x:")
        .replace("<x:/", "</x:")
        .replace("<x:?", "<?")
        .replace("xmlns=", "xmlns:x="),
        "read",
    ),
    (
        "a namespace declared but unused",
        camt(entry(), closing="10.00", namespace="").replace(
            "<Document", f'<Document xmlns:x="{NAMESPACE}"'
        ),
        "read",
    ),
    ("a wrong root", f"{XML}<Invoice><Amt>1</Amt></Invoice>", "refused UnknownFormat"),
    (
        "a namespace of another message",
        camt(entry(), closing="10.00", namespace=NAMESPACE.replace("053", "054")),
        "held family_doubt",
    ),
    ("an XInclude in a text", _details("", remittance=f"<Ustrd>{INCLUDE}</Ustrd>"), "read"),
    (
        "an XInclude in the middle of a text",
        _details("", remittance=f"<Ustrd>cut{INCLUDE}here</Ustrd>"),
        "refused MarkupInText",
    ),
    (
        "a stylesheet",
        _xml_of(f'{XML}<?xml-stylesheet type="text/xsl" href="http://127.0.0.1/x.xsl"?>'),
        "read",
    ),
    (
        "an entry in a comment",
        camt(entry(), "<!-- <Ntry></Ntry> -->", closing="10.00"),
        "held entry_count",
    ),
    (
        "more references than any payment has",
        _details("", remittance="<Strd/>" * 2_000),
        "refused TooManyEntries",
    ),
    (
        "summaries without end",
        camt(entry(), closing="10.00", head="<TxsSummry/>" * 2_000),
        "refused TooManyEntries",
    ),
]

ARCHIVES = [
    (
        "a bomb that says so",
        lambda: _zip(a=b"0" * 60_000_000, b=b"0" * 60_000_000),
        "refused ArchiveRefused",
    ),
    ("a bomb in gzip", lambda: gzip.compress(b"0" * 110_000_000), "refused ArchiveRefused"),
    ("a zip in a zip", _zip(a=_zip(b=GOOD)), "refused ArchiveRefused"),
    ("a path that leads out", _zip(**{"../evil.xml": GOOD}), "refused ArchiveRefused"),
    ("an absolute path", _zip(**{"/etc/passwd": GOOD}), "refused ArchiveRefused"),
    ("a link", _link(), "refused ArchiveRefused"),
    ("many files", _zip(**{str(number): GOOD for number in range(101)}), "refused ArchiveRefused"),
    ("a wrong extension", _zip(**{"statement.pdf": GOOD}), "read"),
    (
        "gzip with something behind it",
        gzip.compress(GOOD.encode()) + b"x",
        "refused ArchiveRefused",
    ),
    ("a good member beside a bad one", _zip(a=GOOD, b=GOOD[:-9]), "refused MalformedXml"),
    ("an empty member", _zip(a=b""), "refused EmptyFile"),
]

MONEY = [
    *[
        (f"an amount of {text!a}"[:60], _amount(text), "held balance_mismatch row_not_read")
        for text in (
            "NaN", "Infinity", "1E+1", "1_0.00", "-10.00", "1 0.00", "10,00", "1.000.00",
            "1,000.00", "1'000.00", "1\u00a0000.00", "1\u202f000.00", "\u0661\u0660.\u0660\u0660", "\uff11\uff10.\uff10\uff10", "9" * 400,
        )
    ],
    ("a plus sign", _amount("+10.00"), "read"),
    ("blanks around an amount", _amount(" 10.00 "), "read"),
    ("five decimals of zeros", _amount("10.00000"), "read"),
    ("five decimals", _amount("10.00001"), "held balance_mismatch row_not_read"),
    ("decimals of a yen", _amount("10.5", currency="JPY"), "held balance_mismatch row_not_read"),
    ("18 digits", _amount("9" * 18), "held balance_mismatch row_not_read"),
    ("yen on an account in euro", _amount("1000", currency="JPY"), "held currency_mismatch"),
    ("zero", camt(entry("0.00"), closing="0.00"), "read"),
    ("a direction that nobody knows", _amount("10.00", mark="CREDIT"), "held balance_mismatch row_not_read"),
    ("a currency in lower case", _amount("10.00", currency="eur"), "held balance_mismatch row_not_read"),
    ("no currency", _amount("10.00", currency="XXX"), "held currency_mismatch currency_unknown"),
    (
        "a reversal flag that lies about the sign",
        _amount("10.00", more="<RvslInd>true</RvslInd>"),
        "read",
    ),
    (
        "a reversal flag that is no flag",
        _amount("10.00", more="<RvslInd>yes</RvslInd>"),
        "held balance_mismatch row_not_read",
    ),
]  # fmt: skip

PAID = ":61:2601310131C10,00NTRFNONREF"
MT940_FILES = [
    ("an entry forged in a text", mt940(PAID, ":86:Hello", ":61:2601310131C5,00NTRFNONREF"), "held balance_mismatch"),
    ("a closing balance forged in a text", mt940(PAID, ":86:Hello", ":62F:C260131EUR15,00"), "held balance_ambiguous balance_mismatch"),
    ("line ends of CR alone", mt940(PAID, end="\r"), "read"),
    ("1.000,50", mt940(":61:2601310131C1.000,50NTRFNONREF"), "held balance_mismatch row_not_read"),
    ("1,000,00", mt940(":61:2601310131C1,000,00NTRFNONREF"), "held balance_mismatch row_not_read"),
    ("an amount of 20 digits", mt940(f":61:2601310131C{'9' * 20},00NTRFNONREF"), "held balance_mismatch row_not_read"),
    ("30 February", mt940(":61:2602300131C10,00NTRFNONREF"), "held date_impossible"),
    ("29 February of a common year", mt940(":61:2602290131C10,00NTRFNONREF"), "held date_impossible"),
    ("no entry date", mt940(":61:260131C10,00NTRFNONREF"), "read"),
    ("no closing balance", mt940(PAID, closing=""), "held balance_missing"),
    ("frames of SWIFT", "{1:F01BANKDEFFXXXX0000000000}{2:I940BANKDEFFXXXXN}{4:\r\n" + mt940(PAID) + "-}", "read"),
    ("NUL and ETX", "\x01" + mt940(PAID, ":86:In\x00voice 1") + "\x03", "read"),
    ("Windows-1252", mt940(PAID, ":86:Müller").encode("cp1252"), "read"),
    ("an old DOS code page", mt940(PAID, ":86:M\x81ller").encode("latin-1"), "held encoding_doubt"),
    ("an expected credit", mt940(":61:2601310131EC10,00NTRFNONREF", closing=":62F:C260130EUR0,00"), "read"),
    ("a debit of funds code R", mt940(":61:2601310131DR10,00NTRFNONREF", closing=":62F:D260131EUR10,00"), "read"),
    ("a head and nothing else", ":20:STMT\r\n:25:12030000/202051\r\n:28C:1/1\r\n", "held balance_missing"),
    ("an entry that can't be read", mt940(":61:hello"), "held balance_mismatch row_not_read"),
    ("a line of a megabyte", mt940(PAID, ":86:" + "x" * 1_000_000), "refused LineTooLong"),
    ("pages out of order",
     mt940(PAID, opening=":60M:C260130EUR0,00", closing=":62M:C260131EUR10,00").replace("1/1", "1/2")
     + mt940(PAID, opening=":60F:C260130EUR0,00", closing=":62M:C260131EUR10,00"),
     "held pages_out_of_order"),
]  # fmt: skip

OFX_FILES = [
    ("no closing tags", ofx(stmttrn()), "read"),
    ("an empty identifier", ofx(stmttrn(fitid="")), "read"),
    ("one identifier twice", ofx(stmttrn(), stmttrn()), "read"),
    ("$120", ofx(stmttrn("$120")), "refused BadAmount"),
    ("a lone point", ofx(stmttrn(". ")), "refused BadAmount"),
    ("a decimal comma", ofx(stmttrn("10,00")), "read"),
    ("a day of zeros", ofx(stmttrn(day="00000000")), "held date_impossible"),
    ("a script in the memo", ofx(stmttrn(more="<MEMO><script>alert(1)</script>")), "held text_doubt"),
    ("a document type", ofx(stmttrn()).replace("<OFX>", "<!DOCTYPE x><OFX>"), "refused DoctypeRefused"),
    ("cut inside a statement", ofx(stmttrn())[:-160], "refused Truncated"),
]  # fmt: skip

BAI2_FILES = [
    ("88 in the middle of a word", bai2("16,115,1000,,REF,CUST,Invoi", "88,ce 1/"), "read"),
    ("several records on one line", bai2("16,115,1000,,REF,CUST,one/16,115,1000,,REF,CUST,two/", account_total=12_000), "held control_total"),
    ("a wrong control total", bai2("16,115,1000,,REF,CUST,one/", account_total=1), "held control_total"),
    ("a wrong count", bai2("16,115,1000,,REF,CUST,one/", records_in_account=9), "held control_total"),
    ("no last record", bai2("16,115,1000,,REF,CUST,one/").rpartition("99,")[0], "refused Truncated"),
    ("a code of the bank's own", bai2("16,999,1000,,REF,CUST,one/"), "held balance_missing"),
    ("an amount with an underscore", bai2("16,115,1000,,REF,CUST,one/").replace("115,1000", "115,1_000"), "held control_total row_not_read"),
]  # fmt: skip

N26 = '"Booking Date","Value Date","Partner Name","Partner Iban",Type,"Payment Reference","Account Name","Amount (EUR)"\n'
CSV_FILES = [
    ("a formula", N26 + '2026-01-31,2026-02-01,"=HYPERLINK(1)",DE89370400440532013000,X,"+1",Main,10.00\n', "read"),
    ("a quote without end", N26 + '2026-01-31,2026-02-01,"Payer,DE89370400440532013000\n', "refused MalformedCsv"),
    ("a byte order mark", "\ufeff" + N26 + '2026-01-31,2026-02-01,P,DE89370400440532013000,X,"1",Main,10.00\n', "read"),
    ("a number that is none", N26 + '2026-01-31,2026-02-01,P,DE89370400440532013000,X,"1",Main,1E5\n', "refused BadAmount"),
    ("a day-month swap that can't be told", "Date;Description;Amount;Currency\n01/02/2026;x;1.00;EUR\n", "held date_ambiguous family_doubt"),
    ("no table", "hello\nworld\n", "refused UnknownFormat"),
]  # fmt: skip

OF_EACH_KIND = {
    "XML": XML_FILES,
    "archive": ARCHIVES,
    "money": MONEY,
    "MT940": MT940_FILES,
    "OFX": OFX_FILES,
    "BAI2": BAI2_FILES,
    "CSV": CSV_FILES,
}
