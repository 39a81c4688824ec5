"""Why a bank file was refused.

One named error for each reason, with its facts and the place in the file.

StatementRefused
├── FileRefused        FileTooLarge, EmptyFile, UnknownFormat, ArchiveRefused, NoStatements,
│                      TooManyStatements, TooManyEntries, TooManyLines, LineTooLong,
│                      UndecodableText, Truncated
├── XmlRefused         MalformedXml, DoctypeRefused, EncodingRefused, TooDeep, TooManyTags,
│                      TooManyNames, TooManyUnits, ElementTooLarge, MarkupInText
├── MoneyRefused       BadAmount, AmountTooPrecise, AmountTooLarge, BadCurrency, BadDirection
└── StructureRefused   MissingField, RepeatedField, BadLine, MalformedCsv, Bai2Refused
"""

from typing import ClassVar

from billing.errors import Rejected

# Longest piece of a file's own text that an error repeats: enough to find the place, too short to
# carry a person's particulars into a log.
MAX_QUOTE = 40
# Longest reason in words; a library's own message may repeat much of a file.
MAX_REASON = 160


def _shortened(name: str, fact: str | int) -> str | int:
    """A fact as it is kept: text of the file quoted, all else in plain ASCII, both shortened."""
    if isinstance(fact, int):
        return fact
    longest = MAX_QUOTE if name == "text" else MAX_REASON
    kept = fact if len(fact) <= longest else f"{fact[: longest - 3]}..."
    return kept.encode("ascii", "backslashreplace").decode().translate(_CONTROLS)


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


class StatementRefused(Rejected):
    """A file that can't be read safely; nothing of it may be imported.

    `position` is a line, a byte offset or an element path in words, or empty; the other facts are
    the values that the message names, at most 40 characters of the file's own text among them.
    """

    says: ClassVar[str] = "the file was refused"

    def __init_subclass__(cls) -> None:
        # the docstring of each error is the sentence that it says, so the two can't drift apart
        cls.says = (cls.__doc__ or cls.says).removesuffix(".")

    def __init__(self, position: str = "", **facts: str | int) -> None:
        self.position = position
        super().__init__(
            position=position, **{name: _shortened(name, fact) for name, fact in facts.items()}
        )

    def __str__(self) -> str:
        said = self.says.format_map(self.facts)
        return f"{said} ({self.position})" if self.position else said


class FileRefused(StatementRefused):
    """The file as a whole is not one that we read."""


class FileTooLarge(FileRefused):
    """The file is larger than {limit} bytes."""


class EmptyFile(FileRefused):
    """The file holds nothing."""


class UnknownFormat(FileRefused):
    """Not a bank statement that we know: {found}."""


class ArchiveRefused(FileRefused):
    """The archive was not opened: {reason}."""


class NoStatements(FileRefused):
    """A {format} file without any statement."""


class TooManyStatements(FileRefused):
    """More than {limit} statements."""


class TooManyEntries(FileRefused):
    """More than {limit} entries and details."""


class LineTooLong(FileRefused):
    """A line or value of more than {limit} characters."""


class TooManyLines(FileRefused):
    """More than {limit} lines."""


class UndecodableText(FileRefused):
    """Bytes that are no text in {encoding}."""


class Truncated(FileRefused):
    """The file ends inside {inside}."""


class XmlRefused(StatementRefused):
    """The XML is not well-formed or not harmless."""


class MalformedXml(XmlRefused):
    """The XML is not well-formed: {reason}."""


class DoctypeRefused(XmlRefused):
    """The XML declares a document type or entities."""


class EncodingRefused(XmlRefused):
    """The XML is in an encoding that bank files do not use: {reason}."""


class TooDeep(XmlRefused):
    """Elements nested more than {limit} deep."""


class TooManyTags(XmlRefused):
    """More than {limit} tags."""


class TooManyNames(XmlRefused):
    """More than {limit} different names of tags and attributes."""


class TooManyUnits(XmlRefused):
    """More than {limit} statements, balances, entries and parts of them."""


class ElementTooLarge(XmlRefused):
    """More than {limit} bytes without a finished balance, entry or transaction."""


class MarkupInText(XmlRefused):
    """Markup inside the text of {field}."""


class MoneyRefused(StatementRefused):
    """An amount, currency or direction that can be read in more than one way, or in none."""


class BadAmount(MoneyRefused):
    """'{text}' is not an amount."""


class AmountTooPrecise(MoneyRefused):
    """'{text}' has more decimals than its currency, which has {exponent}."""


class AmountTooLarge(MoneyRefused):
    """'{text}' is beyond any bank amount."""


class BadCurrency(MoneyRefused):
    """'{text}' is not a currency that we count in."""


class BadDirection(MoneyRefused):
    """'{text}' does not say whether money came or went."""


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
