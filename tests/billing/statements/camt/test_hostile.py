"""XML made to break readers: each file is refused by name, or read exactly."""

import pytest

from billing.statements import draft
from billing.statements.camt import fields, parser
from billing.statements.errors import (
    DoctypeRefused,
    ElementTooLarge,
    EncodingRefused,
    MalformedXml,
    MarkupInText,
    TooDeep,
    TooManyEntries,
    TooManyTags,
)
from tests.billing.statements.writing import batch, camt, entry, only, reasons, transaction

DECLARED = '<?xml version="1.0" encoding="UTF-8"?>'
BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))


@pytest.mark.parametrize(
    "doctype",
    [
        pytest.param("<!DOCTYPE Document>", id="bare"),
        pytest.param(
            '<!DOCTYPE D [<!ENTITY x SYSTEM "file:///etc/passwd">]>', id="external entity"
        ),
        pytest.param(
            '<!DOCTYPE D [<!ENTITY % x SYSTEM "http://127.0.0.1/x"> %x;]>', id="parameter entity"
        ),
        pytest.param('<!DOCTYPE D [<!ENTITY amt "999999.00">]>', id="internal entity"),
        pytest.param(f'<!DOCTYPE D [<!ENTITY a0 "ha">{BOMB}]>', id="billion laughs"),
        pytest.param(f'<!DOCTYPE D [<!ENTITY q "{"q" * 50_000}">]>', id="quadratic blow-up"),
        pytest.param('<!DOCTYPE Document SYSTEM "http://127.0.0.1/x.dtd">', id="external subset"),
    ],
)
def test_a_document_type_of_any_kind_is_refused(doctype):
    with pytest.raises(DoctypeRefused):
        only(camt(entry(), declaration=DECLARED + doctype))


def test_a_document_type_hidden_in_utf_16_is_refused():
    text = camt(entry(), declaration='<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE D>')

    with pytest.raises(DoctypeRefused):
        only(text.encode("utf-16"))


def test_an_entity_without_declaration_is_malformed():
    with pytest.raises(MalformedXml, match="line 1"):
        only(camt(entry("&amt;")))


def test_200_000_levels_are_refused():
    deep = "<a>" * 200_000 + "</a>" * 200_000

    with pytest.raises(TooDeep):
        only(camt(entry(more=deep)))


def test_depth_in_skipped_elements_counts_too():
    deep = '<x:a xmlns:x="urn:x">' + "<x:a>" * 300 + "</x:a>" * 301

    with pytest.raises(TooDeep):
        only(camt(entry(more=deep)))


def test_a_text_of_10_mb_is_refused():
    with pytest.raises(ElementTooLarge):
        only(
            camt(entry(details=batch(transaction(remittance=f"<Ustrd>{'x' * 10_000_000}</Ustrd>"))))
        )


def test_a_million_attributes_are_refused():
    attributes = " ".join(f'a{number}="1"' for number in range(1_000_000))

    with pytest.raises(ElementTooLarge):
        only(camt(f"<Ntry {attributes}></Ntry>"))


def test_endless_tags_are_refused(monkeypatch):
    monkeypatch.setattr(parser, "MAX_XML_TAGS", 1_000)

    with pytest.raises(TooManyTags):
        only(camt("<a/>" * 2_000))


def test_more_entries_than_the_budget_are_refused(monkeypatch):
    monkeypatch.setattr(draft, "MAX_ENTRIES", 10)

    with pytest.raises(TooManyEntries, match="10"):
        only(camt(*[entry()] * 11))


def test_more_transactions_than_the_budget_are_refused(monkeypatch):
    monkeypatch.setattr(fields, "MAX_UNITS", 2)

    with pytest.raises(TooManyEntries, match=r"TxDtls\[3\]"):
        only(camt(entry(details=batch(*[transaction()] * 3))))


def test_broken_xml_refuses_the_file_whatever_stands_before_it():
    with pytest.raises(MalformedXml):
        only(camt(entry("ten"), "<broken", closing="10.00"))


@pytest.mark.parametrize("noise", ["<!-- x -->", "<?x y?>", "<![CDATA[]]>"])
def test_a_comment_inside_an_amount_or_reference_does_not_cut_it(noise):
    details = batch(
        transaction(end_to_end=f"INV{noise}-1", remittance=f"<Ustrd>one{noise} two</Ustrd>")
    )

    [read_entry] = only(camt(entry(f"1{noise}0.00", details=details))).entries

    assert read_entry.amount_minor == 1000
    assert read_entry.only_detail.end_to_end_id == "INV-1"
    assert read_entry.only_detail.remittance == ("one two",)


def test_cdata_is_text():
    [read_entry] = only(
        camt(entry(details=batch(transaction(remittance="<Ustrd><![CDATA[<b> & c]]></Ustrd>"))))
    ).entries

    assert read_entry.only_detail.remittance == ("<b> & c",)


def test_an_entry_in_a_comment_is_not_read_but_noticed():
    read = only(camt(entry(), "<!-- <Ntry></Ntry> -->", closing="10.00"))

    assert len(read.entries) == 1
    assert reasons(read) == ["entry_count"]


@pytest.mark.parametrize(
    "text",
    [
        "cut<b/>here",
        "<b/>behind",
        'cut<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/>here',
    ],
)
def test_markup_inside_a_text_refuses_the_file(text):
    with pytest.raises(MarkupInText, match="Ustrd"):
        only(camt(entry(details=batch(transaction(remittance=f"<Ustrd>{text}</Ustrd>")))))


def test_an_include_is_never_followed():
    include = '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/>'

    read = only(
        camt(
            entry(details=batch(transaction(remittance=f"<Ustrd>{include}</Ustrd>"))),
            closing="10.00",
        )
    )

    assert "root:" not in str(list(read.entries))


def test_a_stylesheet_instruction_is_passed_over():
    style = DECLARED + '<?xml-stylesheet type="text/xsl" href="http://127.0.0.1/x.xsl"?>'

    assert not only(camt(entry(), closing="10.00", declaration=style)).is_held


def test_two_documents_in_one_file_are_refused():
    with pytest.raises(MalformedXml):
        only(camt(entry()) + camt(entry()))


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused(cut):
    text = camt(*[entry()] * 50, closing="500.00")

    with pytest.raises(MalformedXml, match="line 1"):
        only(text[: int(len(text) * cut)])


def test_bytes_that_are_not_of_the_declared_encoding_are_refused():
    details = batch(transaction(remittance="<Ustrd>Müller</Ustrd>"))

    with pytest.raises(MalformedXml):
        only(camt(entry(details=details)).encode("iso-8859-1"))


@pytest.mark.parametrize("encoding", ["UTF-7", "EBCDIC-CP-US", "shift_jis", "no-such-thing"])
def test_an_encoding_that_could_hide_markup_is_refused(encoding):
    with pytest.raises((EncodingRefused, MalformedXml)):
        only(camt(entry(), declaration=f'<?xml version="1.0" encoding="{encoding}"?>'))


def test_an_unbound_prefix_is_refused():
    with pytest.raises(MalformedXml):
        only(camt(entry(more="<x:a/>")))
