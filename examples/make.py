"""Writes left.csv, right.csv and truth.csv: two invented shops, Russian and English goods. Use: python3 make.py

Every brand, line and code here is made up. A product is a kind (what it is), a brand, a line or a code, and a value for each
decisive attribute (weight, flavour, quantity, one character of a code). Both shops always state all of them, so a person can
see which lines are one product; but the left shop abbreviates and shuffles, the right one adds advertising words and writes units its
own way, while the siblings of a product differ in a single attribute. So letters in common say little, and truth.csv
(left_id,right_id) is decided by the attributes alone.

The library has lists of words: units, colours, scents and the like, which training and the marks of shared words read. No word of
the goods below is in any of them, apart from units of measure after a number; `cli/tests/examples.rs` checks it. So the lists say
how the matcher does on goods that nobody wrote down for it. They were fixed before the matcher saw them: do not change them.
"""
import csv
import os
import random

SEED = 27
SHARE_BOTH = 0.53  # of the products are in both lists; the rest is split between them
HERE = os.path.dirname(os.path.abspath(__file__))


def ways(left, right, price=1.0):
    """A value of an attribute: what the left shop may write, what the right shop may write (`|` between), what it does to the price."""
    return left.split("|"), right.split("|"), price


def plain(*names):
    """Words both shops write alike, but for the case of the first letter."""
    return {n: ([n], [n, n[:1].upper() + n[1:]], 1.0) for n in names}


def forms(*values):
    return dict(enumerate(values))


def measure(left, right, *sizes, power=1.0):
    """Numbers with a unit: how either shop writes {n} (with a comma: {n,}), and the power of the size that the price follows."""
    fill = lambda texts, v: [t.replace("{n,}", f"{v:g}".replace(".", ",")).replace("{n}", f"{v:g}") for t in texts.split("|")]
    return {v: (fill(left, v), fill(right, v), (v / sizes[0]) ** power) for v in sizes}


# goods begin here (the test reads every text from this line to the one that ends them)
# kind: language, category of each shop, price, what the left and the right shop call it, attributes, advertising words, and lines (or
# none: the product has a code).
KINDS = [
    ("ru", "Семена", "Сад: семена", 45, ["Томат", "Сем. томат"], ["Семена томата", "Томат семена"],
     [forms(ways("раннесп.|скоросп.", "раннеспелый|скороспелый"), ways("ультраран.", "ультраранний", 1.1), ways("позднесп.", "позднеспелый")),
      forms(ways("куст.|кустов.", "кустовой", 1.1), ways("штамб.", "штамбовый")), measure("{n}шт|{n} шт", "{n} шт.|{n} семян", 10, 20, 50, power=0.7)],
     ["урожайный", "для теплиц и открытого грядочного ухода", "отличная всхожесть", "салатный"], ["Богатырь", "Гном", "Хуторок"]),
    ("ru", "Полив", "Сад: полив", 900, ["Шланг пол.", "Шланг полив."], ["Шланг поливочный", "Поливочный шланг"],
     [measure("{n}м|бухта {n}м", "{n} м|бухта {n} м|длина {n} м", 15, 25, 50, power=0.9), forms(ways("1/2д|д.1/2", "1/2 дюйма|1/2 дюйм"), ways("3/4д|д.3/4", "3/4 дюйма|3/4 дюйм", 1.5)),
      forms(ways("армир.|арм.", "армированный", 1.2), ways("спирал.", "спиральный"))], ["не перегибается", "гибкий", "трёхслойный", "устойчив к солнцу"], ["Ручей", "Роса", "Исток"]),
    ("ru", "Удобрения", "Сад: удобрения", 160, ["Удобр.", "Удобрение гран."], ["Удобрение гранулированное", "Гранулированное удобрение"],
     [forms(ways("д/газона", "для газона|газонное"), ways("д/хвойных|хвойн.", "для хвойных"), ways("д/орхидей", "для орхидей", 1.2), ways("д/картофеля|картоф.", "для картофеля|картофельное")),
      measure("{n}кг|меш. {n}кг", "{n} кг|мешок {n} кг", 1, 3, 5, power=0.9), forms(ways("весна|весен.", "весеннее"), ways("осень|осен.", "осеннее"))],
     ["с микроэлементами", "пролонгированное действие", "без хлора", "органоминеральное"], ["Грядка", "Росток"]),
    ("ru", "Зоо", "Товары для животных", 210, ["Корм д/кошек", "Корм сух. д/кошек"], ["Сухой корм для кошек", "Корм для кошек сухой"],
     [forms(ways("кролик|крол.", "с кроликом|кролик"), ways("индейка|инд.", "с индейкой|индейка"), ways("лосось|лос.", "с лососем|лосось", 1.1), ways("ягнёнок|ягн.", "с ягнёнком|ягненок", 1.1)),
      measure("{n}кг|{n,}кг", "{n,} кг|{n} кг", 0.4, 1.5, 7, power=0.9), forms(ways("д/котят", "для котят"), ways("стерил.|д/стерил.", "для стерилизованных"), ways("взросл.", "для взрослых"))],
     ["беззерновой рацион", "с пребиотиками", "полнорационный", "ветеринары рекомендуют"], ["Мурка", "Усатик"]),
    ("ru", "Зоо", "Товары для животных", 380, ["Наполн. д/туалета", "Наполнитель кош."], ["Наполнитель для кошачьего туалета", "Кошачий наполнитель"],
     [forms(ways("комк.|комкующ.", "комкующийся"), ways("впит.|впитыв.", "впитывающий"), ways("силикаг.", "силикагелевый", 1.6)), measure("{n}л|{n} л", "{n} л|пакет {n} л|{n} литров", 5, 10, 15, power=0.9),
      forms(ways("круп.|крупн.", "крупная гранула|крупный"), ways("мелк.", "мелкая гранула|мелкий"))], ["не пылит", "не липнет", "без следов на лапках"], ["Барсик", "Лапка"]),
    ("ru", "Автозапчасти", "Запчасти: тормоза", 1700, ["Колодки торм.", "Торм. колодки"], ["Колодки тормозные", "Тормозные колодки"],
     [forms(ways("перед.|пер.", "передние", 1.1), ways("зад.|задн.", "задние")), forms(ways("диск.", "дисковые"), ways("бараб.", "барабанные", 0.8)), forms(ways("керам.", "керамические", 1.4), ways("органич.", "органические"))],
     ["без скрипа", "ресурс 60000 пробега", "с датчиком износа", "для иномарок"], None),
    ("ru", "Автозапчасти", "Запчасти: стеклоочистители", 420, ["Щетка стеклооч.", "Дворник"], ["Щётка стеклоочистителя", "Дворник автомобильный"],
     [measure("{n}мм|{n}", "{n} мм|длина {n} мм", 400, 450, 550, 600, power=0.6), forms(ways("карк.|каркас.", "каркасная"), ways("бескарк.", "бескаркасная", 1.5), ways("гибрид|гибр.", "гибридная", 1.7)),
      forms(ways("крючок|крюк", "крепление крючок"), ways("штык", "крепление штыковое", 1.1))], ["не оставляет разводов", "тихая", "с тефлоновым покрытием"], None),
    ("ru", "Игрушки", "Игры и пазлы", 350, ["Пазл", "Пазл карт."], ["Пазл картонный", "Пазлы"],
     [measure("{n}дет|{n}эл", "{n} деталей|{n} элементов", 60, 260, 500, 1000, power=0.3), plain("замок", "маяк", "дельфины", "парусник", "водопад"), forms(ways("с рамкой|+рамка", "с рамкой", 1.4), ways("б/рамки", "без рамки"))],
     ["развивает внимание", "яркая картинка", "плотная вырубка", "в праздничной коробке"], ["Сказка", "Радуга"]),
    ("ru", "Канцтовары", "Канцелярия", 230, ["Папка-рег.", "Регистратор"], ["Папка-регистратор", "Регистратор архивный"],
     [measure("{n}мм|{n} мм", "{n} мм|корешок {n} мм", 50, 75, 80, power=0.3), forms(ways("хаки", "хаки|оттенок хаки"), ways("терракот.|террак.", "терракотовая"), ways("песоч.", "песочная"), ways("лазурь|лазурн.", "лазурная"), ways("сирен.", "сиреневая")), plain("А4", "А5")],
     ["с арочным механизмом", "с карманом на корешке", "вместительная", "разборная"], ["Архив", "Делопроизводитель"]),
    ("en", "Garden", "Pots & Planters", 14, ["pot", "flower pot"], ["Flower Pot", "Planter"],
     [measure("{n}cm|d{n}", "{n} cm|{n}cm diameter", 14, 18, 24, 30, power=1.3), forms(ways("terracotta|terrac.", "Terracotta|in terracotta"), ways("sage", "Sage|in sage"), ways("mustard|must.", "Mustard|in mustard"), ways("teal", "Teal|in teal"), ways("slate", "Slate|in slate")),
      forms(ways("w/ saucer|+ saucer", "with saucer", 1.25), ways("no saucer", "without saucer"))], ["frost proof", "UV stable", "self watering", "kiln glazed"], ["Fern", "Bloom", "Meadow"]),
    ("en", "Pets", "Dogs: leads & collars", 11, ["dog leash", "leash"], ["Dog Leash", "Leash for Dogs"],
     [measure("{n}m|{n} m", "{n} m|{n} metre", 1.2, 2, 3, 5, power=0.4), forms(ways("nylon|nyl.", "Nylon"), ways("leather|leath.", "Leather", 2.0), ways("rope", "Rope|braided rope", 1.2)), forms(ways("padded|padd.", "padded grip", 1.15), ways("loop", "loop grip"))],
     ["reflective stitching", "chew resistant", "swivel clip", "for walks and hikes"], ["Trail", "Paw"]),
    ("en", "Pets", "Dogs: food", 16, ["dog kibble", "kibble"], ["Dog Food", "Dog Kibble"],
     [forms(ways("duck", "Duck|with duck"), ways("venison|ven.", "Venison|with venison", 1.2), ways("salmon|salm.", "Salmon|with salmon"), ways("lamb", "Lamb|with lamb")), measure("{n}kg", "{n} kg|{n}kg bag", 2, 6, 12, power=0.85),
      forms(ways("puppy|pup", "Puppy|for puppies", 1.05), ways("adult|ad.", "Adult|for adults"), ways("senior|sen.", "Senior|for seniors"))], ["low grain", "joint care", "nothing artificial", "vet recommended"], ["Howl", "Hunter"]),
    ("en", "Aquarium", "Fish & Aquatics", 39, ["aquarium filter", "filter aqu."], ["Aquarium Filter", "Fish Tank Filter"],
     [measure("{n}l/h|{n} lph", "{n} L/h|{n} litres/hour", 300, 600, 1000, power=0.6), forms(ways("hang-on|HOB", "hang-on-back|hang on back"), ways("canister|canist.", "canister", 2.0), ways("sponge", "sponge", 0.5))], ["whisper quiet", "for tropical tanks", "three stage", "rinse weekly"], None),
    ("en", "Car care", "Car: oils & fluids", 12, ["engine oil", "motor oil"], ["Engine Oil", "Motor Oil"],
     [plain("5W-30", "10W-40", "0W-20", "5W-40"), measure("{n}l|{n}L", "{n} L|{n} litre", 1, 4, 5, power=0.85), forms(ways("synth.|synthetic", "fully synthetic|synthetic", 1.5), ways("miner.|mineral", "mineral"))],
     ["for petrol and diesel", "low ash", "protects pistons", "turbo approved"], ["Torque", "Rally"]),
    ("en", "Car mats", "Car: mats", 34, ["car mats", "floor mats"], ["Car Floor Mats", "Floor Mat Set"],
     [forms(ways("rubber|rubb.", "Rubber", 1.2), ways("carpet|carp.", "Carpet"), ways("vinyl", "Vinyl", 0.9)), measure("{n}pcs|x{n}", "set of {n}|{n} pieces", 2, 4, 5, power=0.7), forms(ways("tan", "Tan|in tan"), ways("burgundy|burg.", "Burgundy|in burgundy"), ways("anthracite|anthr.", "Anthracite|in anthracite"))],
     ["bevelled edges", "anti slip", "all seasons", "trim to fit"], None),
    ("en", "Toys", "Toys & Games", 28, ["bricks set", "building bricks"], ["Building Bricks", "Construction Set"],
     [measure("{n}pcs|{n} pcs", "{n} pieces|{n} parts", 120, 350, 800, power=0.7), forms(ways("castle", "Castle|knight castle"), ways("pirate|pirates", "Pirate Ship|Pirates"), ways("farm", "Farm|Farm Yard"), ways("rocket|space", "Space Rocket")), plain("3+", "5+", "8+")],
     ["gift boxed", "fits rival bricks", "sparks imagination", "with figures"], ["Tower", "Builder"]),
    ("en", "Toys", "Radio control", 52, ["RC truck", "R/C truck"], ["RC Truck", "Remote Control Truck"],
     [plain("1:10", "1:16", "1:24"), forms(ways("4WD|4x4", "4WD|4x4", 1.4), ways("2WD|4x2", "2WD|4x2")), forms(ways("lime", "Lime|in lime"), ways("teal", "Teal|in teal"), ways("coral", "Coral|in coral"))], ["rechargeable", "all terrain", "waterproof", "climbs anything"], None),
    ("en", "Paper", "Stationery", 5, ["notebook", "notebk"], ["Notebook", "Writing Notebook"],
     [plain("A4", "A5", "B5"), forms(ways("ruled|lined", "ruled|lined pages"), ways("dotted|dot", "dotted|dot grid"), ways("squared|sq.", "squared|squared paper")), measure("{n}p|{n}pp", "{n} pages|{n} pp", 96, 160, 240, power=0.5)],
     ["acid-proof paper", "lies flat", "elastic closure", "ink proof"], ["Draft", "Scribe"]),
]
# goods end here
BRANDS = {
    "ru": ["Ольмира", "Вестрак", "Гранеко", "Лукодар", "Стожар", "Ринвель", "Таласс", "Брусвяна", "Зенкор", "Полисад", "Кромель", "Юрмис", "Доларин", "Чегора", "Нивлад", "Хорвен", "Арсена", "Мшанка"],
    "en": ["Halvero", "Quillon", "Tressby", "Morvane", "Ashkel", "Bexford", "Calundo", "Durrick", "Evenso", "Falmark", "Grindel", "Hollen", "Ikarra", "Jolvik", "Lanthe", "Nerrow", "Osmund", "Pellaro"],
}


def new_code(rng):
    letters = "ABCDEFGHKLMNPRSTVX"
    return "".join(rng.choice(letters) for _ in range(2)) + "-" + str(rng.randint(12, 98) * 10) + rng.choice(letters)


def new_line(rng, kind):
    """A line's name: an ordinary word and an invented one, such as "Роса Ревона"."""
    syllables = {"ru": "ре во ла ми та ру со ни ка до ве зо".split(), "en": "ra ve lo mi ta ru so ni ka do xe zo".split()}[kind[0]]
    ends = {"ru": "на тик рис лум ст".split(), "en": "na tix ris lum st".split()}[kind[0]]
    return rng.choice(kind[8]) + " " + (rng.choice(syllables) + rng.choice(syllables) + rng.choice(ends)).capitalize()


def one_character(rng, code):
    """The code with one digit or its last letter changed."""
    at = rng.choice([3, 4, len(code) - 1])
    choices = "123456789" if code[at].isdigit() else "ABCDEFGHKLMNPRSTVX"
    return code[:at] + rng.choice([c for c in choices if c != code[at]]) + code[at + 1 :]


def family(rng, kind, brand, line):
    """One to three products that differ from the first in one decisive attribute each; those with a code, in one character of it."""
    attributes = kind[6]
    first = tuple(rng.choice(list(a)) for a in attributes)
    code = None if kind[8] else new_code(rng)
    members = [(code, first)]
    size = rng.choice([1, 1, 1, 2, 3])
    for _ in range(40):
        if len(members) == size:
            break
        values = first
        if not code or rng.random() < 0.6:
            at = rng.randrange(len(attributes))
            values = first[:at] + (rng.choice(list(attributes[at])),) + first[at + 1 :]
        new = (code and one_character(rng, code), values)
        if new not in members:
            members.append(new)
    return [(kind, brand, line, c, values) for c, values in members]


def left_line(rng, product, factor):
    kind, brand, line, code, values = product
    words = [rng.choice(a[v][0] if rng.random() < 0.3 else a[v][1]) for a, v in zip(kind[6], values)]
    rng.shuffle(words)
    name = [rng.choice(kind[4] if rng.random() < 0.3 else kind[5]), brand.upper() if rng.random() < 0.6 else brand]
    if code:
        name.insert(rng.choice([1, 2]), code if rng.random() < 0.7 else code.replace("-", ""))
    else:
        name.append(line if rng.random() < 0.8 else line.upper())
    if rng.random() < 0.35:
        name = name[1:] + name[:1]
    text = " ".join(name + words)
    return text, "" if rng.random() < 0.15 else brand, kind[3] * factor * rng.uniform(0.9, 1.1), kind[1]


def right_line(rng, product, factor):
    kind, brand, line, code, values = product
    words = [rng.choice(a[v][1]) for a, v in zip(kind[6], values)]
    adverts = rng.sample(kind[7], rng.choice([0, 0, 0, 1, 1]))
    words += adverts
    rng.shuffle(words)
    head = [rng.choice(kind[5]), f'"{brand}"' if kind[0] == "ru" and rng.random() < 0.4 else brand]
    if code:
        head.append(rng.choice([code.replace("-", ""), code.replace("-", " "), code.lower(), code]))
    else:
        head.append(line)
    if rng.random() < 0.5:
        head = head[1:] + head[:1]
    joint = ", " if rng.random() < 0.6 else " "
    text = " ".join(head) + joint + joint.join(words)
    return text, "" if rng.random() < 0.1 else brand.lower() if rng.random() < 0.2 else brand, kind[3] * factor * rng.uniform(0.95, 1.2), kind[2]


def main():
    rng = random.Random(SEED)
    both, left, right = [], [], []
    for kind in KINDS:
        for brand in rng.sample(BRANDS[kind[0]], 18):
            factor = rng.uniform(0.7, 1.5)
            line = new_line(rng, kind) if kind[8] else None
            for product in family(rng, kind, brand, line):
                price = factor
                for a, v in zip(kind[6], product[4]):
                    price *= a[v][2]
                where = rng.random()
                l = left_line(rng, product, price) if where < SHARE_BOTH or where < (1 + SHARE_BOTH) / 2 else None
                r = right_line(rng, product, price) if where < SHARE_BOTH or where >= (1 + SHARE_BOTH) / 2 else None
                if l and r:
                    both.append((len(left), len(right)))
                if l:
                    left.append(l)
                if r:
                    right.append(r)
    at_left = rng.sample(range(len(left)), len(left))
    at_right = rng.sample(range(len(right)), len(right))
    lid = {row: f"L{i + 1:03}" for i, row in enumerate(at_left)}
    rid = {row: f"R-{10000 + 7 * i}" for i, row in enumerate(at_right)}

    def write(name, head, rows):
        with open(os.path.join(HERE, name), "w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(head)
            out.writerows(rows)

    write("left.csv", ["id", "name", "brand", "price"], [[lid[i], t, b, f"{p:.2f}"] for i in at_left for t, b, p, c in [left[i]]])
    write("right.csv", ["sku", "title", "vendor", "price"], [[rid[i], t, b, f"{p:.2f}"] for i in at_right for t, b, p, c in [right[i]]])
    write("truth.csv", ["left_id", "right_id"], sorted((lid[l], rid[r]) for l, r in both))


if __name__ == "__main__":
    main()
