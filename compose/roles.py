"""Who may do what in the Redis of `docker compose up`: its users, as lines of an ACL file.

Each part of the cluster has a user of its own, so that a worker that was taken over through a file it opened can neither
make itself an API key nor read what is kept of other people's batches, and Flower, which people look at, can put no task
into a queue. Whoever does not say who he is is refused.

Rules are in https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/ and, but for
Flower's in brackets, understood by Redis 6.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

#: Everything but what empties, stops, copies, or shows others; settings and figures are read at start.
CAREFUL = "+@all -@dangerous -@admin -script +script|load +script|exists +info +config|get"
#: Celery's: bindings, tickets on their way, its remote control and events, and the lanes of models, each of which it also
#: looks for in three further priorities (two control characters and a digit).
CELERY = (
    "~_kombu.binding* ~unacked* ~*.celery.pidbox* ~celeryev.* ~tropilla.store* "
    "~*.cpu ~*.cpu??[369] ~*.gpu ~*.gpu??[369]"
)
#: A script whose caller leaves a key out names the empty one.
NO_KEY = "~"
#: What room.lua and its like write for whoever runs a request, and what a worker says of itself. Not: API keys, batches.
WORKER = (
    "request:*", "room:*", "running*", "waiting", "queue*", "ledger*", "spent:*", "dead*", "counts", "workers*", "worker:*",
    "load:*", "order:*", "loading:*", "failure*", "models*", "internal", "image*",
)  # fmt: skip
#: Its errands and offices, and the definitions of models.
STORE = (
    "models*", "errand*", "flight:*", "office:*", "workers*", "worker:*", "failure*", "counts", "store:*", "internal",
    "image*",
)  # fmt: skip

#: user -> his rules. `metrics` is for whoever looks at Redis itself: its health check, an exporter of its figures.
ROLES: Mapping[str, str] = {
    "api": f"~tropilla:* {CELERY} {NO_KEY} &* {CAREFUL}",
    "worker": f"{' '.join(f'~tropilla:{key}' for key in WORKER)} {CELERY} {NO_KEY} &* {CAREFUL}",
    "store": f"{' '.join(f'~tropilla:{key}' for key in STORE)} {CELERY} {NO_KEY} &* {CAREFUL}",
    # It hears events, asks workers how they are, and counts what lies in lanes: nothing that adds to a list, and no script
    # of its own. Two of kombu's keep its queues; they are there once a worker has loaded them, and run with these rights.
    "flower": (
        "~_kombu.binding* ~*.reply.celery.pidbox* ~celeryev.* &/0.celeryev/* &/0.celery.pidbox &/0.reply.celery.pidbox "
        "-@all +@connection +@pubsub +@transaction +evalsha +script|exists +time +sadd +srem +smembers +zadd +zrem "
        "+zrangebyscore +brpop +rpop +llen +del +exists +pexpire +expire +info (~* +llen) "
        # Whoever waits for an answer looks for tickets that nobody has acknowledged meanwhile; none is old enough for it.
        "(~unacked_mutex +set +get +del +evalsha) (~unacked_index +zrange)"
    ),
    "metrics": "resetchannels -@all +ping +info",
    "operator": "~* &* +@all",
}


#: Nobody can be `default`, and it may do everything: as whom Redis reads its own log at start. With less it leaves out each
#: transaction there, and says so only in its output.
NOBODY = "reset off ~* &* +@all"


def acl(passwords: Mapping[str, str]) -> str:
    """The ACL file for users by name. Redis is told the passwords' digests only."""
    lines = [f"user default {NOBODY}"]
    for name, password in passwords.items():
        digest = hashlib.sha256(password.encode()).hexdigest()
        lines.append(f"user {name} reset on #{digest} {ROLES[name]}")
    return "\n".join(lines) + "\n"


def fingerprint() -> str:
    """Changes with the rules: compose.yaml bears it, so that an upgrade that changes them restarts Redis."""
    return hashlib.sha256(repr((NOBODY, ROLES)).encode()).hexdigest()[:12]
