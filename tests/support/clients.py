"""Plain Redis clients for assertions, on every redis-py the project supports."""

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
