"""The extension's HTTP API for clients, as ``HttpApiHandler.cs`` answers: what the SDK's ``DurableOrchestrationClient``
talks to (below ``/durabletask/``, from loopback only) and what the URLs of ``create_check_status_response`` lead to
(below ``/runtime/webhooks/durabletask/``, with the system key in ``code``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote, unquote

from tests.standins.durable.history import for_people, moment_of
from tests.standins.durable.store import TERMINAL, Instance
from tests.standins.functions_worker import HttpAnswer

WEBHOOK_PATH = "/runtime/webhooks/durabletask"
RPC_PATH = "/durabletask"


class AlreadyExists(Exception):
    """An instance of this id is there and may not be replaced."""


class BadArgument(Exception):
    """An argument of a call is wrong (.NET's ArgumentException)."""


class Hub(Protocol):
    """What the API needs of the host."""

    extension: int
    """The extension's major version, 2 or 3."""

    def start_serialised(self, name: str, input_: str | None, instance_id: str | None) -> str: ...

    def instance(self, instance_id: str) -> Instance | None: ...

    def all_instances(self) -> list[Instance]: ...

    def deliver_event(self, instance_id: str, name: str, input_: str) -> None: ...

    def terminate(self, instance_id: str, reason: str) -> None: ...

    def suspend(self, instance_id: str, *, suspended: bool) -> None: ...

    def purge(self, instance_id: str) -> None: ...


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    body = json.dumps(value).encode()
    return HttpAnswer(status, {"Content-Type": "application/json; charset=utf-8"} | dict(headers or {}), body)


def empty(status: int) -> HttpAnswer:
    return HttpAnswer(status, {}, b"")


def token(text: str | None) -> Any:
    """A stored value as JSON; a text that is none, such as a reason, as itself."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def status_of(instance: Instance, *, show_input: bool) -> dict[str, Any]:
    return {
        "name": instance.name,
        "instanceId": instance.id,
        "runtimeStatus": instance.status,
        "input": token(instance.input) if show_input else None,
        "customStatus": token(instance.custom_status),
        "output": token(instance.output),
        "createdTime": instance.created[:19] + "Z",
        "lastUpdatedTime": instance.updated[:19] + "Z",
    }


def client_payload(url: str, hub: str, system_key: str) -> str:
    """What a ``durableClient`` binding gives to a function."""
    base = url + WEBHOOK_PATH
    query = f"taskHub={hub}&connection=Storage&code={system_key}"
    instance = f"{base}/instances/INSTANCEID"
    create = f"{base}/orchestrators/{{functionName}}[/{{instanceId}}]"
    return json.dumps(
        {
            "taskHubName": hub,
            "creationUrls": {
                "createNewInstancePostUri": f"{create}?code={system_key}",
                "createAndWaitOnNewInstancePostUri": (
                    f"{create}?timeout={{timeoutInSeconds}}&pollingInterval={{intervalInSeconds}}&code={system_key}"
                ),
            },
            "managementUrls": management_urls("INSTANCEID", instance, query),
            "baseUrl": base,
            "requiredQueryStringParameters": f"code={system_key}",
            "rpcBaseUrl": f"{url}{RPC_PATH}/",
        }
    )


def management_urls(instance_id: str, instance: str, query: str) -> dict[str, str]:
    return {
        "id": instance_id,
        "statusQueryGetUri": f"{instance}?{query}",
        "sendEventPostUri": f"{instance}/raiseEvent/{{eventName}}?{query}",
        "terminatePostUri": f"{instance}/terminate?reason={{text}}&{query}",
        "rewindPostUri": f"{instance}/rewind?reason={{text}}&{query}",
        "purgeHistoryDeleteUri": f"{instance}?{query}",
        "restartPostUri": f"{instance}/restart?{query}",
        "suspendPostUri": f"{instance}/suspend?reason={{text}}&{query}",
        "resumePostUri": f"{instance}/resume?reason={{text}}&{query}",
    }


class Management:
    def __init__(self, hub: Hub, url: str, name: str, system_key: str) -> None:
        self._hub = hub
        self._url = url
        self._name = name
        self._system_key = system_key

    def answer(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> HttpAnswer:
        """``path`` is what follows the base."""
        try:
            return self._route(method, [unquote(part) for part in path.strip("/").split("/")], query, headers, body)
        except (BadArgument, AlreadyExists) as wrong:
            if self._hub.extension >= 3:
                return as_json({"Message": str(wrong)}, 400 if isinstance(wrong, BadArgument) else 409)
            return self._as_version_2(wrong)

    def _as_version_2(self, wrong: BadArgument | AlreadyExists) -> HttpAnswer:
        if isinstance(wrong, BadArgument):
            return _failure(
                400, "One or more of the arguments submitted is incorrect", wrong, "System.ArgumentException"
            )
        kind = "DurableTask.Core.Exceptions.OrchestrationAlreadyExistsException"
        return _failure(500, "Something went wrong while processing your request", wrong, kind)

    def _route(
        self, method: str, parts: list[str], query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> HttpAnswer:
        match method, parts:
            case "POST", ["orchestrators", name, *rest] if len(rest) <= 1:
                return self._start(name, rest[0] if rest else None, body)
            case "GET", ["instances"] | ["instances", ""]:
                return as_json([status_of(each, show_input=_flag(query, "showInput")) for each in self._chosen(query)])
            case "DELETE", ["instances"] | ["instances", ""]:
                if "createdTimeFrom" not in query:
                    return as_json("Please provide value for 'createdTimeFrom' parameter.", 400)
                return self._purged([each for each in self._chosen(query) if each.terminal])
            case _, ["instances", instance_id, *operation]:
                instance = self._hub.instance(instance_id)
                return empty(404) if instance is None else self._one(method, instance, operation, query, headers, body)
        return empty(404)

    def _start(self, name: str, instance_id: str | None, body: bytes) -> HttpAnswer:
        try:
            given = json.loads(body) if body else None
        except ValueError as wrong:
            return _failure(400, "Invalid JSON content", wrong, "Newtonsoft.Json.JsonReaderException")
        started = self._hub.start_serialised(name, None if given is None else json.dumps(given), instance_id)
        return self._check_status(started)

    def _check_status(self, instance_id: str) -> HttpAnswer:
        instance = f"{self._url}{WEBHOOK_PATH}/instances/{quote(instance_id, safe='')}"
        query = f"taskHub={self._name}&connection=Storage&code={self._system_key}"
        urls = management_urls(instance_id, instance, query)
        return as_json(urls, 202, {"Location": urls["statusQueryGetUri"], "Retry-After": "10"})

    def _one(
        self,
        method: str,
        instance: Instance,
        operation: list[str],
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> HttpAnswer:
        match method, operation:
            case "GET", []:
                return self._status(instance, query)
            case "DELETE", []:
                return self._purged([instance])
            case "POST", ["restart"]:
                fresh = query.get("restartWithNewInstanceId", "true").lower() == "true"
                started = self._hub.start_serialised(instance.name, instance.input, None if fresh else instance.id)
                return self._check_status(started)
            case "POST", ["terminate" | "suspend" | "resume" | "raiseEvent", *_] if instance.status in TERMINAL:
                return empty(410)
            case "POST", ["terminate"]:
                self._hub.terminate(instance.id, query.get("reason", ""))
                return empty(202)
            case "POST", ["suspend" | "resume" as wish]:
                self._hub.suspend(instance.id, suspended=wish == "suspend")
                return empty(202)
            case "POST", ["raiseEvent", name]:
                if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
                    return as_json({"Message": "Only application/json request content is supported"}, 400)
                self._hub.deliver_event(instance.id, name, body.decode())
                return empty(202)
        return empty(404)

    def _status(self, instance: Instance, query: Mapping[str, str]) -> HttpAnswer:
        inputs = _flag(query, "showInput", default=True)
        status = status_of(instance, show_input=inputs)
        if _flag(query, "showHistory"):
            outputs = _flag(query, "showHistoryOutput")
            status["historyEvents"] = for_people(instance.history, outputs=outputs, inputs=inputs)
        if not instance.terminal:
            return as_json(status, 202, {"Retry-After": "5"})
        failed = instance.status == "Failed" and _flag(query, "returnInternalServerErrorOnFailure")
        return as_json(status, 500 if failed else 200)

    def _chosen(self, query: Mapping[str, str]) -> list[Instance]:
        states = set(filter(None, query.get("runtimeStatus", "").split(",")))
        since, until = query.get("createdTimeFrom"), query.get("createdTimeTo")
        return [
            each
            for each in self._hub.all_instances()
            if (not states or each.status in states)
            and each.id.startswith(query.get("instanceIdPrefix", ""))
            and (not since or moment_of(each.created) >= moment_of(since))
            and (not until or moment_of(each.created) <= moment_of(until))
        ]

    def _purged(self, instances: list[Instance]) -> HttpAnswer:
        ended = [each for each in instances if each.terminal]
        for each in ended:
            self._hub.purge(each.id)
        return as_json({"instancesDeleted": len(ended)}) if instances else empty(404)


def _flag(query: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    return query.get(name, str(default)).lower() == "true"


def _failure(status: int, message: str, error: Exception, kind: str) -> HttpAnswer:
    content = {"Message": message, "ExceptionMessage": str(error), "ExceptionType": kind, "StackTrace": "   at ..."}
    return as_json(content, status)
