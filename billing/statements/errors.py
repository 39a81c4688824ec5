"""Refusals of bank files: a named error for each reason, with its facts and the place.

StatementRefused
├── FileRefused        FileTooLarge, EmptyFile, UnknownFormat (UnknownArchive), ArchiveRefused,
│                      NoStatements, TooManyStatements, TooManyEntries, TooManyLines,
│                      LineTooLong, UndecodableText, Truncated
├── XmlRefused         MalformedXml, DoctypeRefused, EncodingRefused, TooDeep, TooManyTags,
│                      TooManyNames, TooManyUnits, ElementTooLarge, MarkupInText
├── MoneyRefused       BadAmount, AmountTooPrecise, AmountTooLarge, BadCurrency, BadDirection
└── StructureRefused   MissingField, RepeatedField, BadLine, MalformedCsv, Bai2Refused
"""

from billing.errors import Rejected, sentence

# Longest piece of a file's own text that an error repeats: enough to find the place, too short to
# carry personal data into a log.
MAX_QUOTE = 40
# Longest reason in words; a library's own message may repeat much of a file.
MAX_REASON = 160
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


def _shorten(name: str, fact: str | int) -> str | int:
    """Cut a fact to its longest length and write it in plain ASCII."""
    if isinstance(fact, int):
        return fact
    longest = MAX_QUOTE if name == "text" else MAX_REASON
    short = fact if len(fact) <= longest else f"{fact[: longest - 3]}..."
    return short.encode("ascii", "backslashreplace").decode().translate(_CONTROLS)


class StatementRefused(Rejected):
    """The file can't be read safely, so nothing of it may be imported.

    Attributes:
        position: A line, a byte offset or an element path in words, or empty.
        facts: The values that the message names, with at most 40 characters of the file's text.
    """

    def __init__(self, position: str = "", **facts: str | int) -> None:
        self.position = position
        short = {name: _shorten(name, fact) for name, fact in facts.items()}
        super().__init__(position=position, **short)

    def __str__(self) -> str:
        facts = {name: fact for name, fact in self.facts.items() if name != "position"}
        message = sentence(type(self).__doc__ or self.name, facts)
        return f"{message} ({self.position})" if self.position else message


class FileRefused(StatementRefused):
    """The file as a whole can't be read."""


class FileTooLarge(FileRefused):
    """The file is larger than {limit} bytes."""


class EmptyFile(FileRefused):
    """The file is empty."""


class UnknownFormat(FileRefused):
    """The file is not a bank statement in a known format: {found}."""


class UnknownArchive(UnknownFormat):
    """The file is an archive that is not opened: {found}."""


class ArchiveRefused(FileRefused):
    """The archive was not opened: {reason}."""


class NoStatements(FileRefused):
    """The {format} file contains no statement."""


class TooManyStatements(FileRefused):
    """The file has more than {limit} statements."""


class TooManyEntries(FileRefused):
    """The file has more than {limit} entries and details."""


class LineTooLong(FileRefused):
    """A line or value has more than {limit} characters."""


class TooManyLines(FileRefused):
    """The file has more than {limit} lines."""


class UndecodableText(FileRefused):
    """The file has bytes that are no text in {encoding}."""


class Truncated(FileRefused):
    """The file ends inside {inside}."""


class XmlRefused(StatementRefused):
    """The XML is malformed or unsafe."""


class MalformedXml(XmlRefused):
    """The XML is not well-formed: {reason}."""


class DoctypeRefused(XmlRefused):
    """The XML declares a document type or entities."""


class EncodingRefused(XmlRefused):
    """The XML is in an encoding that bank files do not use: {reason}."""


class TooDeep(XmlRefused):
    """The XML nests elements more than {limit} levels deep."""


class TooManyTags(XmlRefused):
    """The file has more than {limit} tags."""


class TooManyNames(XmlRefused):
    """The XML has more than {limit} different names of tags and attributes."""


class TooManyUnits(XmlRefused):
    """The XML has more than {limit} statements, balances, entries and parts of them."""


class ElementTooLarge(XmlRefused):
    """The XML has more than {limit} bytes without a finished balance, entry or transaction."""


class MarkupInText(XmlRefused):
    """The text of {field} contains markup."""


class MoneyRefused(StatementRefused):
    """An amount, currency or direction is ambiguous or can't be read."""


class BadAmount(MoneyRefused):
    """'{text}' is not an amount."""


class AmountTooPrecise(MoneyRefused):
    """'{text}' has more decimals than the {exponent} of its currency."""


class AmountTooLarge(MoneyRefused):
    """'{text}' is larger than any bank amount."""


class BadCurrency(MoneyRefused):
    """'{text}' is not a supported currency."""


class BadDirection(MoneyRefused):
    """'{text}' does not say whether the entry is a credit or a debit."""


class StructureRefused(StatementRefused):
    """The file breaks the rules of its own format where money is at stake."""


class MissingField(StructureRefused):
    """{field} is missing."""


class RepeatedField(StructureRefused):
    """{field} is stated twice."""


class BadLine(StructureRefused):
    """{field} can't be read: '{text}'."""


class MalformedCsv(StructureRefused):
    """The table is malformed: {reason}."""


class Bai2Refused(StructureRefused):
    """The bai2 library refused the file: {reason}."""
