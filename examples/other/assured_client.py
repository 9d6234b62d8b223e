#!/usr/bin/env python3
"""Delivers each line of a file exactly once, by the protocol of docs/protocol.md, with the standard library alone.

    assured_client.py HOST PORT FILE

The file is what must not be lost; beside it FILE.session keeps the name of the session. Lines may be appended at any time. After a crash of
anything, run it again: the server says how far it is.
"""

import os
import secrets
import socket
import sys
import time

WINDOW = 64  # Lines on their way; any server takes so many.


def session_of(path):
    """The session of a file, made with 128 random bits the first time."""
    kept = path + ".session"
    if not os.path.exists(kept):
        with open(kept + ".new", "w") as new:
            new.write(secrets.token_hex(16))
            new.flush()
            os.fsync(new.fileno())
        os.rename(kept + ".new", kept)
    with open(kept) as file:
        return file.read()


def deliver(address, session, lines):
    """Sends what the server does not have yet. Returns once all is on its disk; a lost connection is an OSError."""
    with socket.create_connection(address, timeout=30) as connection, connection.makefile("rwb") as stream:
        stream.write(f"WILCO/1 OPEN sid={session} first=1 next={len(lines) + 1}\n".encode())
        stream.flush()
        fields = stream.readline().decode().split()
        if fields[:2] != ["WILCO/1", "OK"]:
            sys.exit("the server says: " + " ".join(fields))
        sent = acknowledged = int(dict(field.split("=", 1) for field in fields[2:])["acked"])
        while acknowledged < len(lines):
            while sent < min(len(lines), acknowledged + WINDOW):
                sent += 1
                body = lines[sent - 1]
                stream.write(b"M %d %d\n%s\n" % (sent, len(body), body))
            stream.flush()
            answer = stream.readline()
            if not answer.endswith(b"\n"):
                raise ConnectionError("the connection was lost")
            if answer.startswith(b"A "):
                acknowledged = int(answer[2:])
            elif answer.startswith(b"N "):
                print("refused:", answer.decode().strip(), file=sys.stderr)
            elif answer.startswith(b"R ") or answer.startswith(b"BYE "):
                raise ConnectionError("not now: " + answer.decode().strip())
            else:
                sys.exit("the server says: " + answer.decode().strip())


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    host, port, path = sys.argv[1:]
    with open(path, "rb") as file:
        lines = file.read().splitlines()
    for pause in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, None):
        try:
            deliver((host, int(port)), session_of(path), lines)
            print(len(lines), "lines are stored")
            return
        except OSError as error:
            if pause is None:
                sys.exit(f"not all lines are stored: {error}; run it again")
            time.sleep(pause)


main()
