"""Small task families whose answers can be scored, and short made-up stories.

Every family is a function of a random generator that returns an Item: a question, its answer and
the wrong choices.  An item belongs to the held-out side if the checksum of its question says so, so
training never sees a held-out question whatever its seed, format or order.
"""

import itertools
import random
import re
import zlib
from typing import NamedTuple

HELD_OUT_ONE_IN = 8
PROMPT_WEIGHT = 0.1  # a task's random prompt cannot be predicted; it only teaches the format
ANSWER_WEIGHT = 4.0  # few tokens among many, and the ones that are scored
CHOICES = 8          # fewer only where the question itself lists the candidates


class Item(NamedTuple):
    question: str
    answer: str
    wrong: list[str]
    key: str = ""    # what decides its side, where two questions are the same problem (3 + 5, 5 + 3)
    more: list[tuple[str, str]] = []   # further questions on the same facts; only for training


NAMES = ("Anna Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Mia Noah Olga Paul Rosa Sam "
         "Tom Vera Will Lucy Max Nina Oscar Ruth Simon Alice George Mary").split()
PLACES = "kitchen garden barn school church market forest harbour cellar tower library mill".split()
COLOURS = "red blue green yellow black white brown grey".split()
THINGS = ("lantern key book rope drum kettle mirror whistle basket coin ribbon feather candle bell map "
          "hammer cup hat ladder spoon").split()
KINDS = {
    "an animal": "dog cat cow horse sheep fox wolf bear goat hen duck mouse pig lion".split(),
    "a fruit": "apple pear plum cherry grape lemon peach melon orange berry fig banana".split(),
    "a colour": "red blue green yellow black white brown grey pink purple".split(),
    "a tool": "hammer saw axe spade knife rake drill needle chisel shovel".split(),
    "a garment": "coat hat shirt glove sock scarf dress boot apron cloak".split(),
    "a part of the body": "hand foot nose ear knee arm finger mouth shoulder toe".split(),
    "a place": "school church market forest harbour barn tower library mill kitchen".split(),
    "a number": "one two three four five six seven eight nine ten".split(),
    "a vehicle": "ship boat cart train coach wagon sledge ferry bicycle carriage".split(),
}


def others(rng, pool, taken, count):
    return rng.sample([p for p in pool if p not in taken], count)


def wrong_numbers(rng, result: int) -> list[str]:
    """Three near misses and four guesses."""
    near = [result + step for step in (-10, -2, -1, 1, 2, 10) if result + step >= 0]
    wrong = set(rng.sample(near, 3))
    while len(wrong) < CHOICES - 1:
        guess = rng.randint(0, 150)
        if guess != result:
            wrong.add(guess)
    return [str(number) for number in sorted(wrong)]


def arithmetic(rng) -> Item:
    left, right, sign = rng.randint(0, 99), rng.randint(0, 9), rng.choice("+-")
    if sign == "-":
        left = max(left, right)
    result = left + right if sign == "+" else left - right
    key = f"{min(left, right)} {sign} {max(left, right)}"
    return Item(f"What is {left} {sign} {right}?", str(result), wrong_numbers(rng, result), key)


def sorting(rng) -> Item:
    digits = rng.sample(range(10), 5)
    right = sorted(digits)
    wrong = set()
    while len(wrong) < CHOICES - 1:
        order = right[:]
        i, j = rng.sample(range(5), 2)
        order[i], order[j] = order[j], order[i]
        wrong.add(" ".join(map(str, order)))
    return Item(f"Sort {' '.join(map(str, digits))}.", " ".join(map(str, right)), sorted(wrong))


def largest(rng) -> Item:
    digits = rng.sample(range(10), 6)
    best = max(digits)
    return Item(f"Which is the largest of {', '.join(map(str, digits))}?", str(best),
                [str(n) for n in digits if n != best])


def recall(rng) -> Item:
    people, things = rng.sample(NAMES, 5), rng.sample(THINGS, 5)
    facts = " ".join(f"{p} has the {t}." for p, t in zip(people, things))
    order = rng.sample(range(5), 5)
    asked = [(f"What does {people[i]} have?", f"{people[i]} has the {things[i]}.") for i in order]
    owned = things[order[0]]
    wrong = [t for t in things if t != owned] + others(rng, THINGS, things, CHOICES - 5)
    return Item(f"{facts} {asked[0][0]}", asked[0][1],
                [f"{people[order[0]]} has the {w}." for w in wrong], more=asked[1:])


def tracking(rng) -> Item:
    people, where, moves = rng.sample(NAMES, 3), {}, []
    for step in range(5):
        person = people[step] if step < 3 else rng.choice(people)
        where[person] = rng.choice([p for p in PLACES if p != where.get(person)])
        moves.append(f"{person} went to the {where[person]}.")
    rng.shuffle(people)
    asked = [(f"Where is {p}?", f"{p} is in the {where[p]}.") for p in people]
    wrong = others(rng, PLACES, [where[people[0]]], CHOICES - 1)
    return Item(f"{' '.join(moves)} {asked[0][0]}", asked[0][1],
                [f"{people[0]} is in the {w}." for w in wrong], more=asked[1:])


def category(rng) -> Item:
    kinds = rng.sample(sorted(KINDS), 6)
    words = []
    for kind in kinds:
        words.append(rng.choice([w for w in KINDS[kind]
                                 if all(w not in KINDS[k] for k in kinds if k != kind)
                                 and w not in words]))
    answer = words[0]
    shown = rng.sample(words, len(words))
    return Item(f"Which of these is {kinds[0]}: {', '.join(shown)}?", answer,
                [w for w in shown if w != answer])


def pattern(rng) -> Item:
    """Two to four words that come round and round."""
    period = rng.randint(2, 4)
    words = rng.sample(THINGS + COLOURS + PLACES, period)
    shown = [words[i % period] for i in range(rng.randint(period + 2, 3 * period))]
    following = [words[(len(shown) + i) % period] for i in range(3)]
    wrong = [w for w in words if w != following[0]]
    wrong += others(rng, THINGS + COLOURS + PLACES, words, CHOICES - 1 - len(wrong))
    return Item(f"What comes next: {', '.join(shown)}?", following[0], wrong,
                more=[("And then?", word) for word in following[1:]])


def copying(rng) -> Item:
    words = rng.sample(THINGS + COLOURS + PLACES + NAMES, rng.randint(4, 9))
    wrong = set()
    while len(wrong) < CHOICES - 1:
        order = words[:]
        i, j = rng.sample(range(len(order)), 2)
        order[i], order[j] = order[j], order[i]
        if rng.random() < 0.5:
            order[i] = others(rng, THINGS + COLOURS + PLACES + NAMES, words, 1)[0]
        wrong.add(" ".join(order) + ".")
    right = " ".join(words) + "."
    return Item(f"Repeat {right}", right, sorted(wrong))


# --- Stories: a small grammar, and a cloze question on the last word ------------------------------

CREATURES = ("fox rabbit bear mouse hen goat wolf duck cat dog owl frog hedgehog squirrel badger "
             "sparrow girl boy king queen farmer miller sailor tailor shepherd baker").split()
TRAITS = "little old brave clever lonely kind hungry merry proud gentle lazy curious poor".split()
OPENINGS = [
    "Once upon a time there was a {t1} {c1} named {n1} who lived near the {p1}.",
    "Long ago, in a house beside the {p1}, there lived a {t1} {c1} called {n1}.",
    "There was once a {t1} {c1} whose name was {n1}, and {n1} lived all alone by the {p1}.",
    "In a small village near the {p1} lived {n1}, a {t1} {c1}.",
]
WEATHER = [
    "One cold morning the snow lay deep on the ground, and the wind was singing in the trees.",
    "One fine day in spring the sun was shining and the birds were singing.",
    "One evening, when the moon was high and the stars were bright, nobody could sleep.",
    "One rainy day the water ran down the windows and the road was full of mud.",
    "It was a warm summer day, and the bees were busy among the flowers.",
]
FINDS = [
    "{n1} went for a walk and found an old {o1} under a stone.",
    "On the way to the {p2}, {n1} saw a {o1} lying in the grass and picked it up.",
    "{n1} opened the door, and there on the step lay a {o1}.",
    "{n1} went to the {p2} and bought a {o1} for two pennies.",
]
FEELS = [
    '"What a fine {o1} this is!" said {n1}, and carried it home.',
    "{n1} was very glad, for nobody in the village had such a {o1}.",
    '"I have always wanted a {o1}," said {n1}, and danced for joy.',
    "{n1} looked at the {o1} for a long time and did not know what to do with it.",
]
MEETS = [
    "Near the {p2} {n1} met a {t2} {c2} named {n2}, who was crying bitterly.",
    "Then a {t2} {c2} came down the road. It was {n2}, and {n2} looked very sad.",
    "At the gate stood {n2}, the {t2} {c2}, with tears in both eyes.",
    "Soon after, a {t2} {c2} called {n2} knocked at the door.",
]
TROUBLES = [
    '"Why do you cry?" asked {n1}. "I have lost my way," said {n2}, "and it is growing dark."',
    '"What is the matter?" asked {n1}. "I have had nothing to eat for three days," said {n2}.',
    '"Can I help you?" asked {n1}. "My house has fallen down," said {n2}, "and I am so cold."',
    '"Tell me what is wrong," said {n1}. "The river has carried away my boat," answered {n2}.',
    '"Who are you?" asked {n1}. "I am {n2}, and I have no friend in the world," was the answer.',
]
HELPS = [
    '"Do not be afraid," said {n1}. "Come in, sit by the fire, and eat as much as you like."',
    '"Then you shall stay with me," said {n1}, and gave {n2} bread and warm milk.',
    "{n1} thought for a moment, and then took {n2} by the hand and led the way home.",
    "So they worked together all day long, and before night everything was well again.",
    "{n1} had a good heart, and shared everything with {n2}, and they talked until morning.",
]
TRADES = [
    'The next day {n2} said, "You have been good to me. Give me the {o1}, and I will give you this {o2}."',
    '"I have nothing but this {o2}," said {n2}, "but I will gladly give it to you for your {o1}."',
    "Before they parted, {n1} gave {n2} the {o1}, and {n2} gave {n1} a {o2} in return.",
]
KEEPS = [
    '"Here is a {o2} for you," said {n2}, but {n1} would not take it. "I want nothing but my {o1}."',
    "{n2} wanted to give {n1} a {o2}, but {n1} only laughed and said that one {o1} was enough.",
]
MORALS = [
    "From that day on they were the best of friends.",
    "And they were happy together for many years.",
    "Everybody in the village heard of it and was glad.",
    "A kind heart is worth more than gold.",
    "And so nobody was lonely any more.",
]
LAST_WORD = re.compile(r" ([a-z]+)[.?!]\"?(?= |$)")
ENDINGS = [
    "And to this day {n1} keeps the",
    "In the end {n1} was left with the",
    "And if you go there you will still see {n1} with the",
]


def tell(rng, heroes=None) -> Item:
    """A story up to its last word; the answer is what the hero owns at the end."""
    n1, n2 = rng.sample(NAMES, 2)
    c1, c2 = rng.sample(CREATURES, 2)
    if heroes:
        c1 = rng.choice(heroes)
        c2 = rng.choice([c for c in CREATURES if c != c1])
    t1, t2 = rng.sample(TRAITS, 2)
    p1, p2 = rng.sample(PLACES, 2)
    o1, o2 = rng.sample(THINGS, 2)
    traded = rng.random() < 0.6
    parts = [rng.choice(part) for part in
             (OPENINGS, WEATHER, FINDS, FEELS, MEETS, TROUBLES, HELPS, TRADES if traded else KEEPS,
              MORALS, ENDINGS)]
    if rng.random() < 0.4:
        del parts[3]
    if rng.random() < 0.3:
        del parts[1]
    text = " ".join(parts).format(n1=n1, n2=n2, c1=c1, c2=c2, t1=t1, t2=t2, p1=p1, p2=p2, o1=o1, o2=o2)
    for vowel in "aeiou":
        text = text.replace(f" a {vowel}", f" an {vowel}")
    owned = o2 if traded else o1
    given_up = o1 if traded else o2
    wrong = [given_up] + others(rng, THINGS, [o1, o2], CHOICES - 2)
    return Item(text, owned, wrong)


def sentence_cloze(rng) -> Item:
    """A story up to the last word of one of its sentences, where the sentence decides the word."""
    endings = sorted({w for part in (OPENINGS, WEATHER, FINDS, MEETS, TROUBLES, HELPS, MORALS) for line in part
                      for w in LAST_WORD.findall(line)})
    while True:                              # ends: most stories have several such sentences
        story = tell(rng).question
        spots = [m for m in LAST_WORD.finditer(story) if m[1] in endings and m.start() > 80]
        if spots:
            spot = rng.choice(spots)
            return Item(story[:spot.start(1)].rstrip(), spot[1], others(rng, endings, [spot[1]], CHOICES - 1))


def word_order(rng, chapters: list[str]) -> Item:
    """Some 40 words of prose and the next five, among other orders of the same five."""
    words = rng.choice(chapters).split()
    start = rng.randrange(len(words) - 45)
    context, following = words[start:start + 40], words[start + 40:start + 45]
    orders = {" ".join(order) for order in itertools.permutations(following)}
    orders.discard(" ".join(following))
    if len(orders) < CHOICES - 1:            # one word four times over
        return word_order(rng, chapters)
    return Item(" ".join(context), " ".join(following), rng.sample(sorted(orders), CHOICES - 1))


FAMILIES = {"arithmetic": arithmetic, "sorting": sorting, "largest": largest, "recall": recall,
            "tracking": tracking, "category": category, "pattern": pattern,
            "copying": copying}
# How often training shows each; the ones with more to learn more often.
WEIGHTS = {"arithmetic": 3, "sorting": 0.7, "largest": 0.7, "recall": 3, "tracking": 2, "category": 1.5,
           "pattern": 2, "copying": 4}
SMALL_TALK = [
    ("Hello!", "Hello! How can I help you?"),
    ("Hi, how are you?", "I am very well, thank you."),
    ("Who are you?", "I am a small mixture of experts. My experts live on many devices."),
    ("What is your name?", "My name is wdmoe."),
    ("What can you do?", "I can add, sort, remember and tell you a story."),
    ("Thank you!", "You are welcome."),
    ("Good night!", "Good night, and sleep well."),
    ("What is an expert?", "An expert is a small network that looks at some of the words."),
]


def is_held_out(item: Item) -> bool:
    return zlib.crc32((item.key or item.question).encode()) % HELD_OUT_ONE_IN == 0


def draw(make, rng, held_out: bool) -> Item:
    while True:                              # ends: one item in eight is held out
        item = make(rng)
        if is_held_out(item) == held_out:
            return item


def plain_prompt(question: str) -> str:
    return f"Question: {question}\nAnswer:"


def chat_prompt(question: str) -> str:
    return f"User: {question}\nAssistant:"


def task_document(rng) -> list[tuple[str, float]]:
    """One training document as pieces of (text, weight of its tokens in the loss)."""
    if rng.random() < 0.03:
        question, answer = rng.choice(SMALL_TALK)
        return [(chat_prompt(question), PROMPT_WEIGHT), (f" {answer}", 1.0)]
    family = rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
    item = draw(FAMILIES[family], rng, held_out=False)
    form = plain_prompt if rng.random() < 0.6 else chat_prompt
    pieces = [(form(item.question), PROMPT_WEIGHT), (f" {item.answer}", ANSWER_WEIGHT)]
    for question, answer in item.more:
        pieces += [("\n" + form(question), PROMPT_WEIGHT), (f" {answer}", ANSWER_WEIGHT)]
    return pieces


def story_document(rng) -> list[tuple[str, float]]:
    """A bare story, or one asked for in a chat; pieces as above."""
    if rng.random() < 0.8:
        item = draw(tell, rng, held_out=False)
        return [(item.question, 1.0), (f" {item.answer}.", ANSWER_WEIGHT)]
    hero = rng.choice(CREATURES)
    item = draw(lambda r: tell(r, [hero]), rng, held_out=False)
    article = "an" if hero[0] in "aeiou" else "a"
    return [(chat_prompt(f"Tell me a story about {article} {hero}."), PROMPT_WEIGHT),
            (f" {item.question}", 1.0), (f" {item.answer}.", ANSWER_WEIGHT)]


def evaluation_set(family: str, count: int, seed: int, chapters: list[str]) -> list[dict]:
    """Held-out multiple-choice items: {"id", "prompt", "choices", "answer"}, no question twice."""
    rng, seen, rows = random.Random(f"{family}/{seed}"), set(), []
    make, form = {"ownership": (tell, str), "cloze": (sentence_cloze, str),
                  "word_order": (lambda r: word_order(r, chapters), str)}.get(
                      family, (FAMILIES.get(family), plain_prompt))
    while len(rows) < count:
        # Prose is held out by chapter, so there any item will do.
        item = make(rng) if family == "word_order" else draw(make, rng, held_out=True)
        if item.question in seen:
            continue
        seen.add(item.question)
        choices = [item.answer] + list(item.wrong)
        rng.shuffle(choices)
        rows.append({"id": f"{family}-{len(rows)}", "prompt": form(item.question),
                     "choices": [f" {c}" for c in choices], "answer": choices.index(item.answer)})
    return rows


EVALUATION_FAMILIES = [*FAMILIES, "ownership", "cloze", "word_order"]
HARD_FAMILIES = {"arithmetic", "recall"}   # the demo model stays near chance; a larger one need not

if __name__ == "__main__":
    rng = random.Random(1)
    for _ in range(12):
        print(task_document(rng))
    for _ in range(4):
        print(story_document(rng))
