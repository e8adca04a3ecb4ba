"""A certificate for 127.0.0.1 that signs itself, made with `openssl`."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Certificates:
    """Made in `folder`: key and certificate, which is its own authority."""

    def __init__(self, folder: Path) -> None:
        self.key = folder / "tls.key"
        self.authority = folder / "tls.crt"
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        files = ["-keyout", str(self.key), "-out", str(self.authority)]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command = ["openssl", "req", "-x509", *curve, *subject, *files]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    @property
    def options(self) -> dict[str, str]:
        """For the configuration file of the server."""
        return {
            "tls-cert-file": str(self.authority),
            "tls-key-file": str(self.key),
            "tls-ca-cert-file": str(self.authority),
        }
