"""As much of redis-cli as the documentation uses, for machines without redis-tools."""

import sys
from typing import Any

import redis


def main(words: list[str]) -> None:
    """Send one command and print the reply; subscribe until killed."""
    where: dict[str, Any] = {"decode_responses": True}
    while words[0] in ("-p", "-s"):
        option, value, *words = words
        where |= {"port": int(value)} if option == "-p" else {"unix_socket_path": value}
    client = redis.Redis(**where)
    if words[0].upper() == "SUBSCRIBE":
        with client.pubsub() as channel:
            channel.subscribe(*words[1:])
            for message in channel.listen():
                show([message["type"], message["channel"], message["data"]])
        return
    show(client.execute_command(*words))


def show(reply: Any) -> None:
    """Print a reply as redis-cli does when its output is no terminal."""
    if isinstance(reply, dict):
        reply = [text for item in reply.items() for text in item]
    for one in reply if isinstance(reply, list) else [reply]:
        sys.stdout.write(f"{'' if one is None else one}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
