"""Several servers that stand together as in production, all of them on loopback.

Programs are found as those of single servers are: installed, else fetched.
"""

from servers.topologies.failover import Pair, primary_and_standby
from servers.topologies.galera import Galera, galera
from servers.topologies.group_replication import Group, group_replication
from servers.topologies.pgbouncer import PgBouncer, pgbouncer

__all__ = [
    "Galera",
    "Group",
    "Pair",
    "PgBouncer",
    "galera",
    "group_replication",
    "pgbouncer",
    "primary_and_standby",
]
