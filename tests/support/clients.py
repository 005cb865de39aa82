"""Plain Redis clients for assertions, on every redis-py the project supports."""

import json
from typing import Any

import redis

try:
    import rediscluster
except ImportError:
    rediscluster = None

HAS_REDIS_PY_CLUSTER = rediscluster is not None


def no_retries() -> dict[str, Any]:
    """Options that make a client fail at once instead of sending again."""
    try:
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:  # redis-py 3.5 never retries
        return {}
    return {"retry": Retry(NoBackoff(), 0)}


def single_client(**options: Any) -> Any:
    """Make a client for one server that decodes replies and never retries."""
    settings = {"decode_responses": True, "socket_timeout": 5.0, **no_retries(), **options}
    return redis.Redis(**settings)


def cluster_client(addresses: list[tuple[str, int]], **options: Any) -> Any:
    """Make a cluster client that decodes replies: redis-py's, or redis-py-cluster's.

    Args:
        addresses: Start-up nodes.
        options: Passed on.
    """
    settings = {"decode_responses": True, "socket_timeout": 5.0, **options}
    if rediscluster is not None:
        nodes = [{"host": host, "port": str(port)} for host, port in addresses]
        return rediscluster.RedisCluster(startup_nodes=nodes, **settings)
    from redis.cluster import ClusterNode, RedisCluster

    return RedisCluster(startup_nodes=[ClusterNode(*one) for one in addresses], **settings)


def read_address(text: str) -> Any:
    """Return the address a worker program was given as JSON; see :mod:`tests.support.launch`."""
    address: Any = json.loads(text)
    if isinstance(address, list):
        return [tuple(node) for node in address]
    if isinstance(address, dict) and "redis-py-cluster" in address:
        # The client object itself cannot be passed to a process.
        return cluster_client([tuple(node) for node in address["redis-py-cluster"]])
    return address
