"""An app that uses each feature of the Durable SDK that the stand-in plays the other side of.

An activity leaves its marks in the folder ``MARKS``, and waits there for a file where a test has to catch it in the
act.
"""
# mypy: disable-error-code="untyped-decorator"

import json
import os
import random
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
blueprint = df.Blueprint()


# -- triggers


@app.route("runs/{kind}/{id?}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    given = json.loads(req.get_body() or b"null")
    try:
        started = await client.start_new(req.route_params["kind"], req.route_params.get("id"), given)
    except Exception as error:
        taken = "already exists" in str(error)
        return func.HttpResponse(str(error), status_code=409 if taken else 400)
    answer: func.HttpResponse = client.create_check_status_response(req, started)
    return answer


@app.route("runs/{id}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@app.durable_client_input(client_name="client")
async def status(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    found = await client.get_status(
        req.route_params["id"], show_history=True, show_history_output=True, show_input=True
    )
    if not found:
        return func.HttpResponse(status_code=404)
    content = found.to_json() | {"input": found.input_, "history": found.historyEvents}
    return func.HttpResponse(json.dumps(content), mimetype="application/json")


@app.route("runs/{id}/events/{event}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def raise_event(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    try:
        await client.raise_event(req.route_params["id"], req.route_params["event"], json.loads(req.get_body()))
    except Exception as error:
        return func.HttpResponse(str(error), status_code=400)
    return func.HttpResponse(status_code=202)


@app.route("runs/{id}", methods=["DELETE"])
@app.durable_client_input(client_name="client")
async def end(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    id_ = req.route_params["id"]
    await client.terminate(id_, "enough")
    return func.HttpResponse(status_code=202)


@app.route("runs/{id}/history", methods=["DELETE"])
@app.durable_client_input(client_name="client")
async def purge(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    purged = await client.purge_instance_history(req.route_params["id"])
    return func.HttpResponse(str(purged.instances_deleted))


@app.route("runs", methods=["GET"])
@app.durable_client_input(client_name="client")
async def runs(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    found = await client.get_status_by(runtime_status=[df.OrchestrationRuntimeStatus.Completed])
    return func.HttpResponse(json.dumps(sorted(each.instance_id for each in found)))


@app.route("fails", auth_level=func.AuthLevel.ANONYMOUS)
def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("an HTTP function that raises")


@app.timer_trigger("timer", schedule="%SCHEDULE%")
@app.durable_client_input(client_name="client")
async def nightly(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    await client.start_new("fan", "late" if timer.past_due else "nightly", 1)


@app.timer_trigger("timer", schedule="%NO_SUCH_SETTING%")
def unset(timer: func.TimerRequest) -> None:
    pass


@app.timer_trigger("timer", schedule="now and then")
def unscheduled(timer: func.TimerRequest) -> None:
    pass


# -- orchestrations


@blueprint.orchestration_trigger(context_name="context")
def fan(context: df.DurableOrchestrationContext) -> Any:
    count = context.get_input()
    context.set_custom_status({"of": count})
    results = yield context.task_all([context.call_activity("double", number) for number in range(count)])
    total = yield context.call_activity("total", results)
    context.set_custom_status({"of": count, "total": total})
    return {"total": total}


@blueprint.orchestration_trigger(context_name="context")
def guarded(context: df.DurableOrchestrationContext) -> Any:
    results = yield context.task_all([context.call_activity("as_value", number) for number in range(3)])
    return results


@blueprint.orchestration_trigger(context_name="context")
def failing(context: df.DurableOrchestrationContext) -> Any:
    yield context.call_activity("refuse", "disk full")


@blueprint.orchestration_trigger(context_name="context")
def caught(context: df.DurableOrchestrationContext) -> Any:
    try:
        yield context.call_activity("refuse", "disk full")
    except Exception as error:
        return f"caught: {error}"


@blueprint.orchestration_trigger(context_name="context")
def retried(context: df.DurableOrchestrationContext) -> Any:
    options = df.RetryOptions(first_retry_interval_in_milliseconds=300_000, max_number_of_attempts=context.get_input())
    began = context.current_utc_datetime
    result = yield context.call_activity_with_retry("third_time", options, context.instance_id)
    after = yield context.call_activity("double", 21)
    return {"result": result, "after": after, "minutes": (context.current_utc_datetime - began).total_seconds() // 60}


@blueprint.orchestration_trigger(context_name="context")
def approval(context: df.DurableOrchestrationContext) -> Any:
    expiry = context.create_timer(context.current_utc_datetime + timedelta(minutes=5))
    approved = context.wait_for_external_event("approved")
    first = yield context.task_any([approved, expiry])
    if first == expiry:
        return "expired"
    expiry.cancel()
    return approved.result


@blueprint.orchestration_trigger(context_name="context")
def two_events(context: df.DurableOrchestrationContext) -> Any:
    yield context.call_activity("hold", "early")
    first = yield context.wait_for_external_event("news")
    second = yield context.wait_for_external_event("news")
    yield context.call_activity("double", 1)
    return [first, second]


@blueprint.orchestration_trigger(context_name="context")
def left_behind(context: df.DurableOrchestrationContext) -> Any:
    slow = context.call_activity("hold", "left-behind")
    cancel = context.wait_for_external_event("cancel")
    yield context.task_any([slow, cancel])
    return "did not wait"


@blueprint.orchestration_trigger(context_name="context")
def long_timer(context: df.DurableOrchestrationContext) -> Any:
    began = context.current_utc_datetime
    yield context.create_timer(began + timedelta(days=10))
    return (context.current_utc_datetime - began).days


@blueprint.orchestration_trigger(context_name="context")
def parent(context: df.DurableOrchestrationContext) -> Any:
    good = yield context.call_sub_orchestrator("fan", 2, "the-child")
    try:
        yield context.call_sub_orchestrator("failing")
    except Exception as error:
        return {"good": good, "bad": str(error)}


@blueprint.orchestration_trigger(context_name="context")
def counter(context: df.DurableOrchestrationContext) -> Any:
    number = context.get_input()
    yield context.call_activity("double", number)
    if number < 3:
        context.continue_as_new(number + 1)
        return None
    return number


@blueprint.orchestration_trigger(context_name="context")
def holding(context: df.DurableOrchestrationContext) -> Any:
    names = context.get_input()
    results = yield context.task_all([context.call_activity("hold", name) for name in names])
    return results


@blueprint.orchestration_trigger(context_name="context")
def identity(context: df.DurableOrchestrationContext) -> Any:
    yield context.call_activity("double", 1)
    return [context.instance_id, context.parent_instance_id, str(context.new_uuid())]


@blueprint.orchestration_trigger(context_name="context")
def dice(context: df.DurableOrchestrationContext) -> Any:
    yield context.call_activity("double", random.random())


@blueprint.orchestration_trigger(context_name="context")
def moody(context: df.DurableOrchestrationContext) -> Any:
    """The same twice in a turn, another thing in the next: what a setting read in an orchestrator does."""
    yield context.call_activity("double" if Path(os.environ["MARKS"], "mood").exists() else "change_mood", 1)
    yield context.call_activity("total", [1])


# -- activities


@blueprint.activity_trigger(input_name="number")
def double(number: int) -> float:
    print("a line that is no answer to the host")
    return number * 2


@blueprint.activity_trigger(input_name="numbers")
async def total(numbers: list) -> int:  # type: ignore[type-arg]
    return sum(numbers)


@blueprint.activity_trigger(input_name="number")
def as_value(number: int) -> dict:  # type: ignore[type-arg]
    return {"ok": False, "error": "odd"} if number % 2 else {"ok": True, "value": number}


@blueprint.activity_trigger(input_name="why")
def refuse(why: str) -> None:
    raise ValueError(why)


@blueprint.activity_trigger(input_name="run")
def third_time(run: str) -> int:
    tries = _marks(f"tries-{run}")
    if tries < 3:
        raise ValueError(f"try {tries}")
    return tries


@blueprint.activity_trigger(input_name="name")
def hold(name: str) -> str:
    """Says that it began, and ends once ``go-NAME`` is there."""
    times = _marks(f"began-{name}")
    while not Path(os.environ["MARKS"], f"go-{name}").exists():
        time.sleep(0.01)
    return f"{name} at {times}"


@blueprint.activity_trigger(input_name="number")
def change_mood(number: int) -> int:
    _marks("mood")
    return number


def _marks(name: str) -> int:
    """One more line in a file of this name; how many it has."""
    with Path(os.environ["MARKS"], name).open("a+") as file:
        file.write(f"{datetime.now().isoformat()}\n")
        file.seek(0)
        return len(file.readlines())


app.register_functions(blueprint)
