"""TLS of the node's API: client certificates are optional, and verified against the authority of the cluster."""

from __future__ import annotations

import ssl

from ...errors import Problem, StartupError


def accept_client_certificates(context: ssl.SSLContext, authorities: str) -> None:
    """Has a server's context ask for a client certificate; the handshake fails with one that is not valid.

    `authorities` are certificates in PEM form. Raises StartupError.
    """
    try:
        context.load_verify_locations(cadata=authorities)
    except (ssl.SSLError, TypeError, ValueError):  # TypeError: not ASCII
        what = "the authority of client certificates (client_ca_file, or that of the cluster) is no certificate in PEM"
        raise StartupError(Problem("", what)) from None
    context.verify_mode = ssl.CERT_OPTIONAL
    # A resumed session has the certificate of its first connection, which may have expired meanwhile.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
