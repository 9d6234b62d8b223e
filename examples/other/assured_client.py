#!/usr/bin/env python3
"""Delivers each line of a file exactly once, by the protocol of docs/protocol.md, with the standard library alone.

    assured_client.py HOST PORT FILE

The file is what must not be lost; beside it FILE.session keeps the name of the session. Lines may be appended at any time; one counts once
its newline is there. After a crash of anything run it again: the server says how far it is.
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


def next_frame(stream):
    """What the server says next, as words; that the connection is lost or of no use now is an OSError."""
    line = stream.readline().decode()
    words = line.split()
    if not line.endswith("\n"):
        raise ConnectionError("the connection was lost")
    if words[0] in ("R", "BYE") or (words[0] == "E" and words[2] != "never"):
        raise ConnectionError("not now: " + line.strip())
    if words[0] not in ("WILCO/1", "A", "N", "W"):
        sys.exit("the server says: " + line.strip())
    return words


def deliver(address, session, lines):
    """Sends what the server does not have yet. Returns once all is on its disk."""
    with socket.create_connection(address, timeout=30) as connection, connection.makefile("rwb") as stream:
        stream.write(f"WILCO/1 OPEN sid={session} first=1 next={len(lines) + 1} ack=store\n".encode())
        stream.flush()
        granted = dict(word.split("=", 1) for word in next_frame(stream)[2:])
        sent = acknowledged = int(granted["acked"])
        while acknowledged < len(lines):
            while sent < min(len(lines), acknowledged + WINDOW):
                sent += 1
                body = lines[sent - 1]
                stream.write(b"M %d %d\n%s\n" % (sent, len(body), body))
            stream.flush()
            frame = next_frame(stream)
            if frame[0] == "A":
                acknowledged = int(frame[1])
            elif frame[0] == "N":
                print("refused for good:", *frame[1:], file=sys.stderr)


def wrong(what):
    """Ends: called like this it cannot begin."""
    print(what, file=sys.stderr)
    sys.exit(2)


def main():
    if len(sys.argv) != 4:
        wrong(__doc__)
    host, port, path = sys.argv[1:]
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        wrong(f"{port}: PORT is a number of 0 to 65535")
    try:
        with open(path, "rb") as file:
            *lines, _unfinished = file.read().split(b"\n")
        session = session_of(path)
    except OSError as error:
        wrong(error)
    for pause in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, None):
        try:
            deliver((host, int(port)), session, lines)
            print(len(lines), "lines are stored")
            return
        except OSError as error:
            if pause is None:
                sys.exit(f"not all lines are stored: {error}; run it again")
            time.sleep(pause)


main()
