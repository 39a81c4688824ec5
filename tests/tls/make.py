"""Makes the certificates of this folder anew; needs `pip install cryptography`.

The keys protect nothing: only tests use them.
"""

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = Path(__file__).parent
BEGIN, END = dt.datetime(2020, 1, 1), dt.datetime(2120, 1, 1)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(subject, issuer, issuer_key, key, *, end=END):
    extensions = x509.SubjectAlternativeName([x509.DNSName(subject)])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    made = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
    made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(BEGIN).not_valid_after(end)
    is_authority = subject == issuer
    made = made.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    made = made.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    made = made.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
    )
    if not is_authority:
        made = made.add_extension(extensions, critical=False).add_extension(usage, critical=False)
    return made.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def main():
    authority, stranger = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    for file, key in (("authority", authority), ("stranger", stranger)):
        (HERE / f"{file}.pem").write_bytes(certificate(file, file, key, key))
    for file, host, end in (
        ("server", "localhost", END),
        ("other_name", "redis.example", END),
        ("expired", "localhost", dt.datetime(2020, 2, 1)),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        made = certificate(host, "authority", authority, key, end=end)
        (HERE / f"{file}.pem").write_bytes(made + pem(key))


if __name__ == "__main__":
    main()
