"""Ray clusters of several nodes on one machine, for nobody who does not know their secret."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STORE_BYTES = 100_000_000


class Nodes:
    """A head and other nodes.

    Attributes
    ----------
    address : str
    others : list
        Those that can be lost.
    """

    def __init__(self, others: int, cpus: int) -> None:
        from ray import cluster_utils

        # A lost node is noticed after so many checks; processes are as urgent as those that start them.
        checks = {"health_check_period_ms": 500, "health_check_failure_threshold": 4, "worker_niceness": 0}
        head = {
            "num_cpus": cpus,
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
            "_system_config": checks,
        }
        self.count, self.cpus = others, cpus
        self._cluster: Any = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        self.address = str(self._cluster.address)
        self.others: list[Any] = []
        self.fill()

    def add(self, **options: Any) -> Any:
        """Start another node."""
        node = self._cluster.add_node(
            wait=True, **{"num_cpus": self.cpus, "object_store_memory": STORE_BYTES, **options}
        )
        self.others.append(node)
        return node

    def fill(self) -> None:
        """Start as many nodes as there were at first."""
        while len(self.others) < self.count:
            self.add()

    def lose(self, node: Any) -> None:
        """Kill a node with all its processes."""
        self.others.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def lose_head(self) -> None:
        """Kill the processes of the head that know what is in the cluster."""
        self._cluster.head_node.kill_gcs_server(check_alive=False)

    def close(self) -> None:
        """End all processes."""
        self._cluster.shutdown()


@contextmanager
def nodes(others: int = 2, cpus: int = 2) -> Iterator[Nodes]:
    """Start a cluster for the block."""
    found = Nodes(others, cpus)
    try:
        yield found
    finally:
        found.close()


def wait_until(condition: Any, seconds: float = 120) -> None:
    """Wait for something that happens in another process."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
