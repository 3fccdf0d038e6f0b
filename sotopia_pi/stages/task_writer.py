"""The task writer: a language model turns an inspirational prompt into a scenario, which rules check before it counts.

One prompt makes one scenario. What was rejected stays in the file with its reasons and the model's own words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from sotopia_pi.formats.inspirations import Inspiration
from sotopia_pi.models.calls import call_record
from sotopia_pi.models.seam import Chat, Message, Reply, Request, Sampling
from sotopia_pi.stages.scenario_rules import problems_of
from sotopia_pi.stages.side_by_side import side_by_side
from sotopia_pi.stages.simulate import Progress
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.stages.writer_prompt import (
    LONGEST_ANSWER,
    Draft,
    UnreadableDraft,
    answer_schema,
    correction,
    read_draft,
    writer_messages,
)
from sotopia_pi.stages.written import Written, WrittenScenarios
from sotopia_pi.store.digest import source_digest
from sotopia_pi.store.items import ItemFile, content_id
from sotopia_pi.world.characters import Character
from sotopia_pi.world.population import characters
from sotopia_pi.world.tasks import Scenario

PAPER_SAMPLING = Sampling(temperature=0.5, max_new_tokens=1000)
"""Temperature 0.5 (Sotopia-π, appendix on task generation). 1000 tokens are over twice the longest admissible answer
of 130 and twice 180 words, so that a cut answer is a writer that does not stop."""

_EXAMPLE, _ATTEMPT = 12, 13


@dataclass(frozen=True)
class TaskWriter:
    """Asks `chat` for scenarios.

    model_digest: what identifies the model in ids. examples: existing scenarios, one of which every request shows;
    empty: the product's own training ones. attempts: calls for one scenario at most, >= 1. people: characters whose
    names must not occur; empty: the product's own.
    """

    chat: Chat
    model_digest: str
    sampling: Sampling = PAPER_SAMPLING
    attempts: int = 3
    examples: tuple[Scenario, ...] = ()
    people: tuple[Character, ...] = ()

    def __post_init__(self):
        if self.attempts < 1:
            raise ValueError(f"task writer: attempts is {self.attempts}; a scenario takes at least 1")
        object.__setattr__(self, "examples", tuple(self.examples) or training_examples())
        object.__setattr__(self, "people", tuple(self.people) or tuple(characters().values()))
        object.__setattr__(self, "digest", content_id("writer", self.description()))

    def description(self) -> dict[str, Any]:
        """Everything that determines what this writer does, for ids and the run card."""
        return {
            "kind": "task writer",
            "model": self.model_digest,
            "prompt": source_digest("sotopia_pi.stages.writer_prompt"),
            "rules": source_digest("sotopia_pi.stages.scenario_rules"),
            "sampling": self.sampling.to_dict(),
            "attempts": self.attempts,
            "examples": content_id("examples", [example.to_dict() for example in self.examples]),
            "people": content_id("people", sorted(person.name for person in self.people)),
        }


@dataclass(frozen=True)
class WritingPlan:
    """One scenario to be written."""

    writer: TaskWriter
    inspiration: Inspiration
    seed: int

    @property
    def id(self) -> str:
        """Hash of all that determines the scenario."""
        prompt = {"source": self.inspiration.source, "text": self.inspiration.text}
        return content_id("written", {"writer": self.writer.digest, **prompt, "seed": self.seed})

    @property
    def number(self) -> int:
        """A number that is the prompt's own, for seeds."""
        return int(self.inspiration.key[:15], 16)

    @property
    def example(self) -> Scenario:
        """The existing scenario this plan shows, drawn by the seed and the prompt alone."""
        rng = np.random.default_rng([self.seed, _EXAMPLE, self.number])
        return self.writer.examples[int(rng.integers(len(self.writer.examples)))]


async def write_scenarios(
    inspirations: Sequence[Inspiration],
    writer: TaskWriter,
    file: ItemFile,
    progress: Progress,
    at_once: int = 16,
    seed: int = 0,
) -> WrittenScenarios:
    """One scenario a prompt: asks for those the file lacks, at most `at_once` side by side, appends each as it ends.

    What the file holds is final; what ended there as `api_error`, `Stage.items` sets aside at the next start. An item
    that raises does not stop the others; the first error is raised once the rest is written. Raises ValueError when a
    prompt occurs twice.
    """
    _check_once(inspirations)
    here = {item["id"]: Written.from_dict(item) for item in file.read()}
    plans = [WritingPlan(writer, one, seed) for one in inspirations]
    wanted = [plan for plan in plans if plan.id not in here]

    async def one(plan: WritingPlan) -> None:
        written = await write(plan)
        file.append(written.to_dict())
        here[plan.id] = written
        progress.advance(failed=written.outcome != "ok")

    await side_by_side(wanted, one, at_once, "scenarios could not be written", file.path)
    return WrittenScenarios(tuple(here[plan.id] for plan in plans), len(plans) - len(wanted))


async def write(plan: WritingPlan) -> Written:
    """One scenario or the reason why there is none. An answer that cannot be used is sent back with what is wrong."""
    writer, asked = plan.writer, writer_messages(plan.inspiration.text, plan.example)
    messages, calls, latency = asked, [], 0.0
    for attempt in range(writer.attempts):
        reply = await writer.chat.complete(_request(plan, messages, attempt))
        latency += reply.latency_s
        result = _judged(plan, reply)
        calls.append({**call_record(reply, messages, _storable(reply.text)), "problem": result.reason})
        if result.outcome in ("ok", "api_error"):
            break
        messages = asked
        if result.outcome != "refused":
            messages = (*asked, *correction(_storable(reply.text), result.reason))
    return replace(result, calls=tuple(calls), timing={"latency_s": latency})


def reread(earlier: Written, writer: TaskWriter, seed: int = 0) -> Written:
    """The same answers judged anew by the rules of now, without asking anybody: the first that can be used counts,
    else the last. Only rules may differ; another model or prompt would have answered otherwise."""
    plan = WritingPlan(writer, earlier.inspiration, seed)
    calls: list[dict[str, Any]] = []
    result = replace(earlier, id=plan.id)
    for call in earlier.calls:
        reply = Reply(call["text"], outcome=call["outcome"], finish_reason=call["finish_reason"])
        result = _judged(plan, reply)
        calls.append({**call, "problem": result.reason})
        if result.outcome == "ok":
            break
    return replace(result, example=earlier.example, calls=tuple(calls), timing=earlier.timing)


@cache
def training_examples() -> tuple[Scenario, ...]:
    """Existing scenarios for the writer to see, of the product's training templates that keep the rules themselves.

    Evaluation scenarios are never among them: a model that is shown one might write it again.
    """
    tasks = draw_tasks("bc", TaskCounts(zone=60), seed=0)
    scenarios = {task.template: task.scenario for task in tasks}
    drafts = {key: Draft("", s.text, s.goals, int(s.relationship), *s.age_range) for key, s in scenarios.items()}
    return tuple(scenarios[key] for key, draft in drafts.items() if not problems_of(draft, characters().values()))


def _judged(plan: WritingPlan, reply: Reply) -> Written:
    """What one reply is worth, without its calls."""
    common = {"id": plan.id, "inspiration": plan.inspiration, "example": plan.example.codename}
    if reply.outcome == "truncated" or reply.finish_reason == "length":
        most = plan.writer.sampling.max_new_tokens
        return Written(outcome="truncated", reason=f"it did not end within {most} tokens; be brief", **common)
    if reply.outcome != "ok":
        return Written(outcome=reply.outcome, reason=f"the call's outcome is {reply.outcome}", **common)
    try:
        draft = read_draft(reply.text)
    except UnreadableDraft as error:
        return Written(outcome="invalid", reason=str(error), **common)
    if problems := problems_of(draft, plan.writer.people):
        told = "; ".join(map(str, problems))
        return Written(outcome="invalid", problems=tuple(problems), reason=told, **common)
    told = {"disagreement": draft.disagreement, "occupations": draft.occupations}
    return Written(outcome="ok", scenario=_scenario(plan, draft), **told, **common)


def _scenario(plan: WritingPlan, draft: Draft) -> Scenario:
    first, second = draft.goals
    return Scenario(
        template=plan.id,
        codename="_".join("".join(c if c.isalnum() else " " for c in plan.inspiration.text.lower()).split()[:5]),
        source=plan.inspiration.source,
        text=draft.scenario,
        goals=(first, second),
        relationship=draft.relationship,
        age_range=(draft.youngest, draft.oldest),
    )


def _request(plan: WritingPlan, messages: Sequence[Message], attempt: int) -> Request:
    return Request(
        tuple(messages),
        plan.writer.sampling,
        schema=answer_schema(),
        seed=int(np.random.default_rng([plan.seed, _ATTEMPT, plan.number, attempt]).integers(2**31)),
        item_id=plan.id,
        turn=attempt,
        role="task writer",
    )


def _storable(text: str) -> str:
    """A model's words as a file can hold them: cut where a server went wild, without half characters."""
    return text[:LONGEST_ANSWER].encode("utf-8", "replace").decode()


def _check_once(inspirations: Sequence[Inspiration]) -> None:
    seen: dict[str, Inspiration] = {}
    for one in inspirations:
        if one.key in seen:
            first = seen[one.key]
            raise ValueError(
                f"prompt {one.text[:60]!r} ({one.source}, row {one.row}) came before as row {first.row} of "
                f"{first.source}; a prompt makes one scenario: draw from a cleaned pool"
            )
        seen[one.key] = one
