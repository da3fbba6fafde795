"""A Durable host stand-in: what the Functions host with the Durable extension (Azure Storage backend) does for an app.

The app is a folder with ``function_app.py`` that uses the real SDK (``azure-functions-durable`` 1.x) and runs in
Microsoft's real worker library; what the stand-in plays is the other side of the SDK's own protocol, a history in and a
list of actions out, and the extension's HTTP API that the SDK's client calls.

    with DurableHost(app, tmp_path / "hub", workers=3, processes=True) as host:
        answer = host.keyed("POST", "/api/runs")
        status = host.wait(answer.json()["id"])

Sources: the SDK's code; Azure/azure-functions-durable-extension (``OutOfProcOrchestrationShim``, ``HttpApiHandler``,
``BindingHelper``, the trigger binding providers); Azure/durabletask (``TaskOrchestrationContext``,
``TaskOrchestrationExecutor``, ``RetryInterceptor``); what was measured with the real host (facts/azure-functions.md).

Limits: no entities, ``call_http``, rewind or versions; one task hub; one host at a time on a folder, so no partitions
or leases; a queue is served in its order, without polling's back-off; no limit on the size of a message; a suspended
instance does not fire its timers; a request with a chunked body is not understood. A *worker* here is an
instance of the app, host and language worker as one: when only the Python process of a real instance dies, its activity
fails at once.
"""

from tests.standins.durable.host import DurableHost
from tests.standins.durable.hub import NotDeterministic, Running, Status, Stuck
from tests.standins.durable.management import AlreadyExists, BadArgument

__all__ = ["AlreadyExists", "BadArgument", "DurableHost", "NotDeterministic", "Running", "Status", "Stuck"]
