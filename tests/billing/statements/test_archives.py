"""Statements inside zip and gzip, and hostile archives."""

import gzip
import io
import stat
import zipfile

import pytest

from billing.statements import archives, limits
from billing.statements.errors import (
    ArchiveRefused,
    EmptyFile,
    FileTooLarge,
    MalformedXml,
    UnknownFormat,
)
from billing.statements.read import read_statements
from billing.statements.source import open_source
from tests.billing.statements.writing import camt, entry, mt940, ofx, stmttrn

STATEMENT = camt(entry(), closing="10.00").encode()


def zipped(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def stored(name, data):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, data)
    return packed.getvalue()


def test_every_statement_of_a_zip_is_read_whatever_its_name():
    data = zipped(
        **{"a.txt": STATEMENT, "b/c.pdf": mt940().encode(), "__MACOSX/._a": b"x", "d/": b""}
    )

    both = read_statements(data)

    assert [(statement.format, statement.source) for statement in both] == [
        ("camt.053", "a.txt"),
        ("MT940", "b/c.pdf"),
    ]


def test_a_gzip_is_read_whatever_its_name():
    [statement] = read_statements(gzip.compress(STATEMENT), name="x.csv")

    assert (statement.format, statement.source) == ("camt.053", "x.csv")


def test_one_bad_member_refuses_the_whole_archive():
    with pytest.raises(MalformedXml):
        read_statements(zipped(a=STATEMENT, b=STATEMENT[:-10]))


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("readme.pdf", b"%PDF-1.4 x", "a PDF document"),
        ("logo.png", b"\x89PNG\r\n\x1a\n\0\0", "a picture"),
        ("readme.txt", b"These are your statements.\n", "text without a header"),
        ("page.html", b"<!DOCTYPE html><html><br></html>", "HTML"),
        ("order.xml", b"<Document><CstmrCdtTrfInitn/></Document>", "XML without a camt"),
        ("list.xlsx", zipped(**{"[Content_Types].xml": b"x", "xl/workbook.xml": b"y"}), "Excel"),
        ("list.xlsx", zipped(**{"docProps/app.xml": b"x"}), "Excel"),
        ("list.ods", stored("mimetype", b"application/vnd.oasis.opendocument"), "OpenDocument"),
        ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1", "Excel"),
        ("signature.p7s", b"\x30\x82" + b"\x99" * 100_000, "text without a header"),
        ("empty.log", b"", "The file is empty"),
    ],
)
def test_another_file_beside_the_statements_is_passed_over_by_name(name, content, what):
    for members in ({name: content, "z.xml": STATEMENT}, {"a.xml": STATEMENT, name: content}):
        [statement] = read_statements(zipped(**members))

        assert not statement.is_held
        [note] = statement.notes
        assert f"member '{name}'" in note
        assert what in note


def test_an_archive_without_any_statement_is_refused_with_the_first_members_name():
    with pytest.raises(UnknownFormat, match=r"PDF.*member 'a\.pdf'"):
        read_statements(zipped(**{"a.pdf": b"%PDF-1.4", "b.txt": b"hello"}))


def test_a_statement_that_can_not_be_read_is_named_with_its_member():
    with pytest.raises(MalformedXml, match=r"member 'b', line"):
        read_statements(zipped(a=STATEMENT, b=STATEMENT[:-10], c=b"%PDF-1.4"))


@pytest.mark.parametrize("head", [b"BZh9", b"7z\xbc\xaf", b"Rar!", b"\0" * 257 + b"ustar"])
def test_an_archive_of_another_kind_may_hide_statements_and_is_not_passed_over(head):
    with pytest.raises(ArchiveRefused, match=r"inside an archive \(member 'b'"):
        read_statements(zipped(a=STATEMENT, b=head))


def test_many_other_files_are_not_all_noted():
    others = {f"{number}.pdf": b"%PDF-1.4" for number in range(99)}

    [statement] = read_statements(zipped(a=STATEMENT, **others))

    assert len(statement.notes) == limits.MAX_NOTES


def test_an_archive_inside_an_archive_is_refused():
    for nested in (
        zipped(a=zipped(b=STATEMENT)),
        zipped(a=gzip.compress(STATEMENT)),
        gzip.compress(zipped(a=STATEMENT)),
    ):
        with pytest.raises(ArchiveRefused, match="inside an archive"):
            read_statements(nested)


@pytest.mark.parametrize("name", ["../evil.xml", "/etc/passwd", "a/../../b", "..\\evil", "C:/evil"])
def test_a_path_that_leads_out_is_refused(name):
    with pytest.raises(ArchiveRefused, match="leads out"):
        read_statements(zipped(**{name: STATEMENT}))


def test_a_link_is_refused():
    packed = io.BytesIO()
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(link, "/etc/passwd")

    with pytest.raises(ArchiveRefused, match="a link"):
        read_statements(packed.getvalue())


def test_a_zip_bomb_is_refused_by_its_stated_size():
    with pytest.raises(ArchiveRefused, match="bytes unpacked"):
        read_statements(zipped(a=b"0" * 60_000_000, b=b"0" * 60_000_000))


def test_a_zip_bomb_with_a_false_size_is_refused_by_its_unpacked_size(monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1_000)

    with pytest.raises(ArchiveRefused, match="bytes unpacked"):
        read_statements(gzip.compress(b"0" * 10_000))


def test_many_files_are_refused():
    with pytest.raises(ArchiveRefused, match="more than 100 files"):
        read_statements(zipped(**{f"{number}": STATEMENT for number in range(101)}))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(gzip.compress(STATEMENT) + b"trailing", id="gzip with trailing data"),
        pytest.param(gzip.compress(STATEMENT)[:-9], id="gzip cut short"),
        pytest.param(zipped(a=STATEMENT)[:-30], id="zip without directory"),
        pytest.param(
            zipped(a=STATEMENT)[:40] + b"\0" * 20 + zipped(a=STATEMENT)[60:],
            id="zip with damaged content",
        ),
        pytest.param(b"PK\x03\x04", id="zip of four bytes"),
        pytest.param(zipped(), id="empty zip"),
    ],
)
def test_a_damaged_archive_is_refused(data):
    with pytest.raises(ArchiveRefused):
        read_statements(data)


def test_an_encrypted_member_is_refused():
    data = bytearray(zipped(a=STATEMENT))
    for header, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + offset] |= 1

    with pytest.raises(ArchiveRefused, match="encrypted"):
        read_statements(bytes(data))


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"%PDF-1.7", "PDF"),
        (b"\xd0\xcf\x11\xe0", "Excel"),
        (b"BZh9", "bzip2"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"\0" * 257 + b"ustar", "tar"),
        (b"<html><body>log in</body></html>", "HTML"),
    ],
)
def test_other_documents_are_refused_by_name(head, what):
    with pytest.raises(UnknownFormat, match=what):
        read_statements(head)


@pytest.mark.parametrize(
    "data", [b"", gzip.compress(b""), zipped(a=b"")], ids=["as it is", "a gzip", "a zip"]
)
def test_an_empty_file_is_refused(data):
    with pytest.raises(EmptyFile):
        read_statements(data)


def test_an_upload_of_two_gigabytes_is_refused_without_reading_it():
    class Huge(io.RawIOBase):
        def seekable(self):
            return True

        def seek(self, offset, whence=io.SEEK_SET):
            return 2_000_000_000 if whence == io.SEEK_END else offset

        def read(self, size=-1):
            raise AssertionError("read")

    with pytest.raises(FileTooLarge, match="100000000"):
        open_source(Huge())


@pytest.mark.parametrize("name", ["x.csv", "x.xml", "x.sta", "x.zip", None])
def test_the_name_never_decides_the_format(name):
    formats = [
        read_statements(text.encode(), name=name)[0].format for text in (mt940(), ofx(stmttrn()))
    ]

    assert formats == ["MT940", "OFX"]
