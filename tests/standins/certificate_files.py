"""Certificate files as operators keep them, made afresh: nothing here can expire in the repository."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate_file(subject: str = "TDE", *, not_after: datetime | None = None) -> tuple[bytes, bytes]:
    """A certificate (DER, as BACKUP CERTIFICATE writes it) and its private key (PEM, not encrypted)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    end = not_after or datetime.now(UTC) + timedelta(days=700)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=1000))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def thumbprint_of(certificate: bytes) -> str:
    """As SQL Server and Windows show it."""
    return x509.load_der_x509_certificate(certificate).fingerprint(hashes.SHA1()).hex().upper()
