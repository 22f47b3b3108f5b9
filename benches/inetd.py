"""Listens for a program that is a POP3 server on its standard input and output, as inetd does, and no more.

Run in a process of its own, as ``python -m benches.inetd [--login USER] PROGRAM ARGUMENT...``; prints the port that it
listens on, and ends with its standard input. With ``--login`` it takes the login itself, for a program that begins
behind it: any password will do. Must never set an option of the socket: the programs leave Nagle's algorithm on.
"""

import argparse
import socket
import subprocess
import sys
import threading


def _log_in(sock: socket.socket, user: bytes) -> bool:
    """Return whether *user* logged in. The reply to PASS is the program's."""
    sock.sendall(b"+OK\r\n")
    # What follows PASS is the program's to read.
    with sock.makefile("rb", buffering=0) as lines:
        while line := lines.readline():
            verb, _, argument = line.rstrip().partition(b" ")
            if verb.upper() == b"PASS":
                return True
            sock.sendall(b"+OK\r\n" if verb.upper() == b"USER" and argument == user else b"-ERR\r\n")
    return False


def _serve(sock: socket.socket, program: list[str], user: str | None) -> None:
    with sock:
        if user is None or _log_in(sock, user.encode()):
            own = sock.fileno()
            subprocess.run(program, stdin=own, stdout=own, stderr=subprocess.DEVNULL, check=False)


def _accept(listener: socket.socket, program: list[str], user: str | None) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(sock, program, user), daemon=True).start()


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.inetd")
    parser.add_argument("--login", metavar="USER")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        accepting = (listener, arguments.program, arguments.login)
        threading.Thread(target=_accept, args=accepting, daemon=True).start()
        sys.stdin.buffer.read()


if __name__ == "__main__":
    _main()
