"""The limits on what one bank file may cost, each with its reason.

Together they keep any file under 100 MB of memory and 10 s of CPU.
"""

# 100,000 camt entries with full details are 74 MB; banks send a larger statement in several
# messages.
MAX_FILE_BYTES = 100_000_000
# OFX has no batches and about 130 bytes an entry, so this is some 150,000 entries.
MAX_OFX_BYTES = 40_000_000
# Tags of one OFX file: 100,000 transactions have some 2 million, with closing tags.
MAX_OFX_TAGS = 2_500_000
# The bai2 library keeps the whole file as objects, about 13 bytes for each byte read.
MAX_BAI2_BYTES = 4_000_000
# An entry costs up to some 80 microseconds, most of all in OFX and CSV: at most 10 s in all.
MAX_ENTRIES = 120_000
# Entries and their details; the transactions of a camt entry cost less than an entry.
MAX_UNITS = 250_000
# A year of daily statements for 25 accounts in one file; a real collection file held 31.
MAX_STATEMENTS = 10_000
# Longest line of a text format: an MT940 line has 65 characters, a CSV row with a long text a few
# thousand.
MAX_LINE_CHARS = 65_536
# Lines of a text format: 100,000 MT940 entries have 400,000 to a million.
MAX_LINES = 1_500_000
# Structured remittances of one camt transaction, and balances and summaries of one statement: no
# known payment names a thousand invoices.
MAX_PARTS = 1_000
# Bytes of XML between two finished balances, entries or transactions. Bounds the memory of an
# unfinished unit, and of the 64 transactions of a batch that are not packed yet. An entry has some
# 2 kB, an envelope with its signature some 20.
MAX_UNIT_BYTES = 131_072
# Tags of one XML file: 100,000 full camt entries have 8 million, and some 2 million are read in a
# second.
MAX_XML_TAGS = 10_000_000
# Statements, balances, entries, transactions and structured remittances of one XML file: each costs
# some 15 microseconds besides its tags, and a transaction usually has one remittance.
MAX_XML_UNITS = 600_000
# Different names of tags and attributes in one XML file: expat keeps each; camt has some 500.
MAX_XML_NAMES = 5_000
# The deepest camt path has 17 levels; an envelope adds a few.
MAX_XML_DEPTH = 256
# Lines of one MT940 field: the standard allows 6, some banks send dozens.
MAX_FIELD_LINES = 500
# Bytes of an MT940 file that is read again with other decimal marks, three times at most: each time
# costs a second.
MAX_RETRIED_BYTES = 10_000_000
# Subfields of one MT940 field 86, of which the standard has 22; the rest stays text of the last.
# 120,000 entries with so many take some 7 s.
MAX_SUBFIELDS = 64
# Cells of one CSV row; the widest known bank export has 25 columns.
MAX_CSV_CELLS = 200
# Rows before the header of a CSV file; the longest known preamble has 13.
MAX_CSV_PREAMBLE = 60
# Members of one archive: a month of daily statements, twice over.
MAX_ARCHIVE_MEMBERS = 100
# Longest text whose day, IBAN or amount is cached, and read at all: none is longer, and a file may
# have thousands of long texts.
MAX_CACHED_CHARS = 64
# Notes that a statement lists: an archive has up to 100 files, but few beside its statements.
MAX_NOTES = 20
# Holds of one kind that a statement lists; further ones are only counted.
MAX_HOLDS_OF_A_KIND = 10
