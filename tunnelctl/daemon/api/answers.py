"""The part of the control API for a person's answers.

`GET /v1/events?answer=PROFILE/HOST` (or `PROFILE` for all its hosts; may be repeated) makes its
reader the one who answers: the stream also contains the questions, and hosts that wait for input
connect again. `POST /v1/profiles/PROFILE/answers` sends an answer. Must never log one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from tunnelctl.config.profile.find import is_profile_name
from tunnelctl.daemon import sentences
from tunnelctl.daemon.orders import refuse_unknown
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.supervisor.logins.question_desk import AnswerScope

_PLACES_MAX = 256


def read_places(texts: Sequence[str]) -> tuple[AnswerScope, ...]:
    """The hosts in `?answer=`.

    Raises:
        Failure: USAGE, it names none.
    """
    if len(texts) > _PLACES_MAX:
        raise sentences.too_many_answer_scopes(_PLACES_MAX)
    places = []
    for text in texts:
        profile, slash, host = text.partition("/")
        if not is_profile_name(profile) or bool(slash) is not bool(host):
            raise sentences.not_an_answer_scope()
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
            Failure: USAGE, it is invalid.
        """
        refuse_unknown(body, ("id", "answer", "remember"))
        question, answer, remember = body.get("id"), body.get("answer"), body.get("remember", False)
        if not isinstance(question, str):
            raise sentences.not_a_question_id()
        if answer is not None and not isinstance(answer, str):
            raise sentences.not_an_answer()
        if not isinstance(remember, bool):
            raise sentences.not_a_boolean("remember")
        return cls(question, answer, remember)
