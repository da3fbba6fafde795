"""A connection that answers by the statement, for what only looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from shared.databases.connection import Answer, Connection, Message

Row = dict[str, Any]
Reply = Sequence[Row] | Exception | Callable[..., Sequence[Row]]


class Answers:
    """``rows`` by statement: rows, an error to raise, or a function of the parameters."""

    def __init__(self, replies: Mapping[str, Reply]) -> None:
        self.server, self.username = "sql.local", "lifeboat"
        self.asked: list[str] = []
        self._replies = replies

    def rows(self, statement: str, *parameters: object) -> list[Row]:
        self.asked.append(statement)
        reply = self._replies[statement]
        if isinstance(reply, Exception):
            raise reply
        return list(reply(*parameters) if callable(reply) else reply)

    def run(self, statement: str, *, on_message: Callable[[Message], None], **_: object) -> Answer:
        answer = Answer(self.rows(statement))
        for row in list(answer.rows):
            if "message" in row:
                answer.rows.remove(row)
                answer.messages.append(row["message"])
                on_message(row["message"])
        return answer


def connection(replies: Mapping[str, Reply]) -> tuple[Connection, Answers]:
    answers = Answers(replies)
    return cast(Connection, answers), answers
