"""What a written scenario must be before two people can be put into it (Sotopia-π, appendix on task generation)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from sotopia_pi.stages.scenario_names import names_in
from sotopia_pi.stages.writer_prompt import OLDEST, YOUNGEST, Draft
from sotopia_pi.world.characters import Character, Relationship
from sotopia_pi.world.leaks import common_in_order, content, leaked, words
from sotopia_pi.world.tasks import shown_goal

Rule = Literal["goals", "length", "names", "gender", "age", "relationship", "private"]
RULES: tuple[Rule, ...] = get_args(Rule)

SCENARIO_WORDS = (8, 130)
"""Fewest and most words of a situation; SOTOPIA's published ones have 8 to 109."""
GOAL_WORDS = (3, 180)
"""Fewest and most words of a goal with its hints; SOTOPIA's published ones have 3 to 175."""
REPEATED_SHARE = 0.8
"""Share of a goal's content words, in order, that make its repetition in the situation. The two speak of the same
thing, so a goal shares some words with it at any rate; the product's own pairs and published ones stay below this."""
REPEATED_WORDS = 5
"""Fewest content words that can make a repetition: "buy the bike" says no more than the situation must say."""
REPEATED_RUN = 6
"""So many words of a goal in one unbroken run make a repetition by themselves."""

_GENDERED = re.compile(
    r"\b(?:he|she|him|her|his|hers|himself|herself|man|men|woman|women|gentlem[ae]n|lady|ladies|guys?|males?|females?|"
    r"wife|wives|husbands?|girlfriends?|boyfriends?|bride|groom|fianc[ée]e?|widow|widower|businessm[ae]n|waitress|"
    r"(?<!their )(?<!'s )(?<!’s )(?:mother|father|mom|mum|dad|sister|brother|daughter|son|aunt|uncle|niece|nephew|"
    r"grandmother|grandfather|grandma|grandpa)(?!['’]s))\b",
    re.IGNORECASE,
)
"""Words that fit one gender alone. A relative who is only spoken of ("their mother", "the grandmother's box") is none
of the two who talk."""
_BEYOND = re.compile(
    r"(?<!their )(?<!whose )(?<!'s )(?<!’s )\b(?:teenagers?|teens?|kids?|child|children|minors|schoolchild(?:ren)?|"
    r"pupils?|schoolboys?|schoolgirls?|boys?|girls?|toddlers?)\b(?!['’])"
    r"|\b(?:octogenarian|nonagenarian|centenarian)s?\b|\bin (?:their|the) (?:eighties|nineties)\b",
    re.IGNORECASE,
)
"""People under 18 or over 70, unless they are somebody's ("their child"): those are a topic and take no part. Looked
for in the situation alone, which says who takes part."""
_AGES = re.compile(
    r"\b(?:aged?(?: of)?|at the age of|turns?|turning) (\d{1,3})\b(?! (?:days|weeks|months|hours|minutes|dollars))"
    r"|\b(\d{1,3})[- ]years?[- ]olds?\b(?=$|[.,;:!?)]| (?:person|neighbou?r|cousin|sibling|relative|friend|colleague|"
    r"student|intern|apprentice|tenant|resident|stranger|partner|who|and|asks|wants)\b)"
    r"|\b(?:who|they|you|one|other|person|friend) (?:is|are) (?:only |just )?(\d{1,3})(?: years old\b|(?=[.,;]|$))",
    re.IGNORECASE,
)
"""Ages of people in figures; "a 12-year-old car" is none."""
_HINT = re.compile(r"<(extra_info|strategy_hint|clarification_hint)>(.*?)(?=</?(?:extra_info|strategy_hint|clarif)|$)")


@dataclass(frozen=True)
class Problem:
    """One broken rule. rule: of `RULES`; detail: what came and what is allowed, for the writer to read."""

    rule: Rule
    detail: str

    def __post_init__(self):
        if self.rule not in RULES:
            raise ValueError(f"rule {self.rule!r} is not one of {', '.join(RULES)}")

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}"


def problems_of(draft: Draft, characters: Iterable[Character] = ()) -> list[Problem]:
    """Every rule a draft breaks; none for a scenario that can be used. characters: whose names must not occur."""
    texts = {"scenario": draft.scenario, **{f"goal {i}": goal for i, goal in enumerate(draft.goals, 1)}}
    found = [*_goals(draft), *_lengths(draft), *_numbers(draft)]
    people = tuple(characters)
    for place, text in (*texts.items(), *(("occupations", name) for name in draft.occupations)):
        found += _wording(place, text, people)
    return found + _private(draft)


def _goals(draft: Draft) -> list[Problem]:
    if len(draft.goals) != 2 or not all(shown_goal(goal) for goal in draft.goals):
        filled = sum(bool(shown_goal(goal)) for goal in draft.goals)
        return [Problem("goals", f"{filled} goals with words in them came; give exactly two, one a person")]
    first, second = (words(shown_goal(goal)) for goal in draft.goals)
    return (
        [Problem("goals", "both goals say the same; give each person a goal of their own")] if first == second else []
    )


def _lengths(draft: Draft) -> list[Problem]:
    texts = [("scenario", draft.scenario, SCENARIO_WORDS)]
    texts += [(f"goal {place}", goal, GOAL_WORDS) for place, goal in enumerate(draft.goals, 1) if shown_goal(goal)]
    return [
        Problem("length", f"{place} has {n} words; allowed are {fewest} to {most}")
        for place, text, (fewest, most) in texts
        if not fewest <= (n := len(shown_goal(text).split())) <= most
    ]


def _numbers(draft: Draft) -> list[Problem]:
    found = []
    if draft.relationship not in list(Relationship):
        found.append(Problem("relationship", f"{draft.relationship} came; allowed are the whole numbers 0 to 5"))
    if not YOUNGEST <= draft.youngest <= draft.oldest <= OLDEST:
        came = f"youngest {draft.youngest} and oldest {draft.oldest} came"
        found.append(Problem("age", f"{came}; allowed is {YOUNGEST} <= youngest <= oldest <= {OLDEST}"))
    return found


def _wording(place: str, text: str, characters: tuple[Character, ...]) -> list[Problem]:
    found = []
    if named := names_in(text, characters):
        found.append(Problem("names", f"{place} has {_listed(named)}; name nobody and nothing, say what it is instead"))
    if gendered := [match[0] for match in _GENDERED.finditer(text)]:
        found.append(Problem("gender", f"{place} has {_listed(gendered)}; use words that fit everybody"))
    numbers = [int(next(filter(None, match.groups()))) for match in _AGES.finditer(text)]
    ages = [match[0] for match in _BEYOND.finditer(text)] if place == "scenario" else []
    ages += [str(age) for age in numbers if not YOUNGEST <= age <= OLDEST]
    if ages:
        found.append(Problem("age", f"{place} has {_listed(ages)}; all who take part are {YOUNGEST} to {OLDEST}"))
    return found


def _private(draft: Draft) -> list[Problem]:
    found = []
    for place, goal in enumerate(draft.goals, 1):
        wish = _HINT.sub(" ", goal)
        if _repeats(shown_goal(wish), draft.scenario):
            found.append(Problem("private", f"the scenario tells goal {place}; tell only what both know"))
        if any(leaked(hint, draft.scenario) for _, hint in _HINT.findall(goal)):
            found.append(Problem("private", f"the scenario tells what only the owner of goal {place} may know"))
    return found


def _repeats(goal: str, text: str) -> bool:
    said, heard = words(goal), words(text)
    runs = {tuple(heard[i : i + REPEATED_RUN]) for i in range(len(heard))}
    if any(tuple(said[i : i + REPEATED_RUN]) in runs for i in range(len(said) - REPEATED_RUN + 1)):
        return True
    wanted = content(said)
    shared = common_in_order(wanted, content(heard))
    return shared >= REPEATED_WORDS and shared >= REPEATED_SHARE * len(wanted)


def _listed(found: list[str]) -> str:
    return ", ".join(f'"{word}"' for word in dict.fromkeys(found))
