"""The embedded host on a machine where every host name leads to one address, and each look-up is printed.

Stands for the name service, so that a test can see where calls to Azure's and OpenAI's own hosts go.
NAMES_LEAD_TO is the address, as `host:port`.
"""

import os
import socket
import sys
from typing import Any

from local.host import main

_look_up = socket.getaddrinfo
_HOST, _, _PORT = os.environ["NAMES_LEAD_TO"].rpartition(":")


def _look_up_here(host: Any, port: Any, *args: Any, **options: Any) -> Any:
    if host in ("127.0.0.1", "localhost", None):
        return _look_up(host, port, *args, **options)
    sys.stdout.write(f"looked up {host}\n")
    return _look_up(_HOST, _PORT, *args, **options)


if __name__ == "__main__":
    socket.getaddrinfo = _look_up_here
    main()
