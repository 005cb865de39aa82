"""JSON-RPC 2.0 over HTTP: start, control and look at tasks from any language.

::

    protocol     what a request means and what its answer looks like; no input or output
    errors       the error codes
    tasks        the methods, over the helpers of an app
    methods      which methods there are, those of plug-ins included
    application  HTTP: a WSGI app, to mount anywhere
    server       a server for it, on gevent

Nothing of pytask imports this package but its command line.
"""

from pytask.rpc.application import RpcApplication, wsgi
from pytask.rpc.errors import RpcError
from pytask.rpc.protocol import RpcRequest
from pytask.rpc.tasks import TaskMethods

__all__ = ["RpcApplication", "RpcError", "RpcRequest", "TaskMethods", "wsgi"]
