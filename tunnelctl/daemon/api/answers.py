"""The part of the control API for a person's answers.

`GET /v1/events?answer=PROFILE/HOST` (or `PROFILE` for all its hosts; may be repeated) makes its
reader the one who answers: the stream also contains the questions, and hosts that wait for input
connect again. `POST /v1/profiles/PROFILE/answers` sends an answer. Must never log one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunnelctl.config.profile.find import is_profile_name
from tunnelctl.daemon.orders import refuse_unknown
from tunnelctl.daemon.problems import BadRequest
from tunnelctl.supervisor.logins.question_desk import AnswerScope

_PLACES_MAX = 256


def read_places(texts: Sequence[str]) -> tuple[AnswerScope, ...]:
    """The hosts in `?answer=`.

    Raises:
        BadRequest: it names none.
    """
    if len(texts) > _PLACES_MAX:
        raise BadRequest(f"answer can be given at most {_PLACES_MAX} times")
    places = []
    for text in texts:
        profile, slash, host = text.partition("/")
        if not is_profile_name(profile) or bool(slash) is not bool(host):
            raise BadRequest("answer must be PROFILE or PROFILE/HOST")
        places.append(AnswerScope(profile, host))
    return tuple(dict.fromkeys(places))


@dataclass(frozen=True, slots=True)
class AnswerOrder:
    """The body of `answers`: the question and the answer; null says that nobody will answer.
    `remember`: keep it in memory until the daemon ends."""

    question: str
    answer: str | None = field(repr=False)
    remember: bool = False

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> AnswerOrder:
        """Check the body of a request.

        Raises:
            BadRequest: with what is wrong with it.
        """
        refuse_unknown(body, ("id", "answer", "remember"))
        question, answer, remember = body.get("id"), body.get("answer"), body.get("remember", False)
        if not isinstance(question, str):
            raise BadRequest("id must be the id of a question")
        if answer is not None and not isinstance(answer, str):
            raise BadRequest("answer must be a string or null")
        if not isinstance(remember, bool):
            raise BadRequest("remember must be true or false")
        return cls(question, answer, remember)
