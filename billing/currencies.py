"""The decimals of currencies (ISO 4217, list one and list three)."""

# The decimals assumed for an unknown currency; such a statement is held.
SHOWN_AS_MINOR = 2
# ISO 4217 for no currency: that of a file which names none, and is held for it.
NO_CURRENCY = "XXX"

_NONE = """
    BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF
"""
_TWO = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD
    CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
    GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD
    MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP
    PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS
    TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG
"""
# Withdrawn, but still in old files; two decimals are enough for all of them.
_GONE = """
    ATS BEF CYP DEM EEK ESP FIM FRF GRD HRK IEP ITL LTL LUF LVL MTL NLG PTE ROL RUR SIT SKK SLL
    TRL VEF ZMK ZWL
"""
# Offshore renminbi and the island pounds: no ISO codes, but banks keep accounts in them.
_LOCAL = """
    CNH GGP IMP JEP
"""
_THREE = """
    BHD IQD JOD KWD LYD OMR TND
"""
_FOUR = """
    CLF UYW
"""
_DECIMALS = {0: _NONE, 2: _TWO + _GONE + _LOCAL, 3: _THREE, 4: _FOUR}
_EXPONENTS = {code: decimals for decimals, codes in _DECIMALS.items() for code in codes.split()}


def exponent_of(code: str) -> int | None:
    """The decimals of an ISO 4217 code, or None for a code without, such as XXX and XTS."""
    return _EXPONENTS.get(code)
