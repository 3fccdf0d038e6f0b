"""Two characters and a task between them, with marks planted in everything that is private."""

from sotopia_pi.world.characters import Character, Relationship
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff
from sotopia_pi.world.tasks import Scenario, SocialTask

CANARY = "CANARY"


def character(name):
    return Character(
        id=name.lower(),
        first_name=name,
        last_name="Lee",
        age=40,
        gender="Woman",
        gender_pronoun="she/her",
        occupation="Nurse",
        public_info=f"{name} keeps bees.",
        big_five="Openness - High",
        moral_values=("Care",),
        schwartz_personal_values=("Security",),
        personality_and_values=f"{name} is calm. She values order.",
        decision_making_style="Analytical",
        secret=f"{CANARY}-{name}-secret",
        mbti="ISTJ",
    )


def task(level=Relationship.FRIEND):
    price = Issue("price", "amount", tuple(range(10, 100)), "$")
    sides = (
        SidePayoff({"price": 1}, 31, 93, guarded=f"{CANARY}-Ann-guarded"),
        SidePayoff({"price": -1}, -71, -13, guarded=f"{CANARY}-Bea-guarded"),
    )
    goals = (
        f"Sell the lamp. <extra_info>{CANARY}-Ann-goal</extra_info>",
        f"Buy the lamp. <strategy_hint>{CANARY}-Bea-goal</strategy_hint>",
    )
    scenario = Scenario("t", "lamp", "own", "A lamp is for sale.", goals, level)
    return SocialTask(
        scenario, (character("Ann"), character("Bea")), "Ann knows Bea.", Payoff("bargaining", (price,), sides)
    )
