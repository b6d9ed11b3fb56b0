"""Writes left.csv, right.csv and truth.csv: two invented shops, Russian and English goods. Use: python3 make.py

Every brand, line and code here is made up. A product is a kind (what it is), a brand, a line or a code, and a value for each
decisive attribute (volume, colour, quantity, one character of a code). Both shops always state all of them, so a person can
tell which lines are one product; but the left shop abbreviates and shuffles, the right one adds advertising words and writes units its
own way, while the siblings of a product differ in a single attribute. So letters in common say little, and truth.csv
(left_id,right_id) is decided by the attributes alone.
"""
import csv
import os
import random

SEED = 20
SHARE_BOTH = 0.53  # of the products stand in both lists; the rest is split between them
HERE = os.path.dirname(os.path.abspath(__file__))

# A value of an attribute: what the left shop may write, what the right shop may write, what it does to the price.
ML = {
    250: (["250 мл", "0,25л"], ["0,25 л", "250мл", "250 мл"], 0.6),
    500: (["500 мл", "500мл", "0,5л"], ["0,5 л", "500мл", "0.5 л"], 1.0),
    750: (["750мл", "0,75л"], ["750 мл", "0,75 л"], 1.4),
    1000: (["1л", "1000мл"], ["1 л", "1 литр", "1000 мл"], 1.8),
    5000: (["5л", "кан. 5л"], ["5 л", "канистра 5 л", "5 литров"], 6.0),
}
CAN = {
    9: (["0,9л", "банка 0,9 л"], ["0.9 л", "0,9 л"], 1.0),
    27: (["2,7л", "2,7 л"], ["2.7 л", "2,7л"], 2.7),
    90: (["9л", "ведро 9 л"], ["9 л", "9 литров"], 8.0),
}
OZ = {
    200: (["200ml", "0.2l"], ["200 ml", "0.2 L"], 1.0),
    400: (["400ml", "0.4l"], ["400 ml", "0.4 L"], 1.7),
    750: (["750ml", "0.75l"], ["750 ml", "0.75 L"], 2.8),
}
GRAMS = {
    100: (["100г", "0,1кг"], ["100 г", "100 гр"], 1.0),
    250: (["250г", "250 гр"], ["250 г", "0,25 кг"], 2.2),
    1000: (["1кг", "1000г"], ["1 кг", "1000 г"], 8.0),
}


def colours(*names):
    table = {
        "белый": (["бел.", "белый"], ["белый", "цвет белый"]),
        "чёрный": (["черн.", "черный"], ["чёрный", "цвет чёрный"]),
        "серый": (["сер.", "серый"], ["серый", "цвет серый"]),
        "красный": (["красн.", "красный"], ["красный", "цвет красный"]),
        "зелёный": (["зел.", "зеленый"], ["зелёный", "цвет зелёный"]),
        "коричневый": (["коричн.", "коричневый"], ["коричневый", "цвет коричневый"]),
        "бежевый": (["беж.", "бежевый"], ["бежевый", "цвет бежевый"]),
        "прозрачный": (["прозрачн.", "прозр."], ["прозрачный", "цвет прозрачный"]),
        "black": (["black", "blk"], ["Black", "in black"]),
        "white": (["white", "wht"], ["White", "in white"]),
        "silver": (["silver"], ["Silver", "in silver"]),
        "red": (["red"], ["Red", "in red"]),
        "navy": (["navy"], ["Navy", "navy blue"]),
        "grey": (["grey", "gray"], ["Grey", "in grey"]),
        "cyan": (["cyan"], ["Cyan"]),
        "magenta": (["magenta"], ["Magenta"]),
        "yellow": (["yellow"], ["Yellow"]),
    }
    return {n: (*table[n], 1.0) for n in names}


def plain(*names):
    """Words both shops write alike, but for the case of the first letter."""
    return {n: ([n], [n, n[:1].upper() + n[1:]], 1.0) for n in names}


def forms(**values):
    return {k: (l, r, p) for k, (l, r, p) in values.items()}


def pieces(unit, *counts):
    ways = {
        "шт": (["{n}шт", "{n} шт", "уп.{n}шт"], ["{n} шт.", "упаковка {n} штук", "({n} шт)"]),
        "пак": (["{n}пак", "{n} пак."], ["{n} пакетиков", "{n} пак"]),
        "pk": (["{n}pk", "{n} pcs"], ["pack of {n}", "{n}-pack", "{n} pieces"]),
    }[unit]
    return {n: ([w.format(n=n) for w in ways[0]], [w.format(n=n) for w in ways[1]], (n / counts[0]) ** 0.9) for n in counts}


def measure(left, right, *sizes, power=1.0):
    s = lambda v: f"{v:g}"
    return {v: ([w.format(n=s(v)) for w in left], [w.format(n=s(v)) for w in right], (v / sizes[0]) ** power) for v in sizes}


INCH = lambda *n: measure(['{n}"', "{n}in"], ["{n} inch", "{n}-inch", '{n}"'], *n)
WATT = lambda *n: measure(["{n}Вт"], ["{n} Вт"], *n, power=0.4)
GB = lambda *n: measure(["{n}GB", "{n}gb"], ["{n} GB", "{n} Gb"], *n, power=0.7)
METRES = lambda *n: measure(["{n}m", "{n} m"], ["{n} m", "{n} meter", "{n}-metre"], *n, power=0.4)
MILLIMETRES = lambda *n: measure(["{n}мм"], ["{n} мм"], *n, power=0.3)

# kind: language, category of each shop, price, what the left and the right shop call it, attributes, advertising words, and codes or lines.
KINDS = [
    ("ru", "Быт. химия", "Бытовая химия", 140, ["Ср-во д/посуды", "Ср-во для мытья посуды"], ["Средство для мытья посуды", "Гель для мытья посуды"],
     [plain("лимон", "алоэ", "яблоко"), {k: ML[k] for k in (500, 1000, 5000)}], ["густая пена", "бережёт руки", "концентрированное", "без фосфатов", "новинка"], ["Блеск", "Дом", "Эко"]),
    ("ru", "Быт. химия", "Бытовая химия", 260, ["Гель д/стирки", "Гель для стирки"], ["Жидкое средство для стирки", "Гель для стирки белья"],
     [forms(c=(["д/цветного", "для цветного"], ["для цветного белья"], 1.0), w=(["д/белого", "для белого"], ["для белого белья"], 1.0), b=(["д/детского", "для детского"], ["для детского белья"], 1.1)),
      {k: ML[k] for k in (750, 1000, 5000)}], ["гипоаллергенный", "свежесть надолго", "экономичный", "для всех типов машин"], ["Актив", "Софт"]),
    ("ru", "ЛКМ", "Краски и лаки", 700, ["Эмаль алк.", "Эмаль алкид."], ["Эмаль алкидная", "Алкидная эмаль"],
     [colours("белый", "чёрный", "серый", "красный", "зелёный", "коричневый"), CAN, forms(g=(["глянц.", "гл."], ["глянцевая"], 1.0), m=(["матов.", "мат."], ["матовая"], 1.05))],
     ["для дерева и металла", "атмосферостойкая", "быстросохнущая", "для наружных работ", "без запаха"], ["Мастер", "Профи", "Люкс"]),
    ("ru", "ЛКМ", "Краски и лаки", 330, ["Герметик сил.", "Герметик силикон."], ["Герметик силиконовый", "Силиконовый герметик"],
     [colours("белый", "прозрачный", "серый", "бежевый"), forms(s=(["санитарн.", "сан."], ["санитарный"], 1.1), u=(["универс.", "унив."], ["универсальный"], 1.0)), {240: (["240мл"], ["240 мл", "0,24 л"], 1.0), 280: (["280мл"], ["280 мл", "0,28 л"], 1.1)}],
     ["для ванной", "эластичный", "морозостойкий", "с носиком"], ["Шов", "Фикс"]),
    ("ru", "Инструмент", "Электроинструмент", 5200, ["Дрель-шуруп. акк.", "Шуруповерт аккум."], ["Дрель-шуруповёрт аккумуляторная", "Аккумуляторный шуруповёрт"],
     [measure(["{n}В"], ["{n} В"], 12, 18, power=0.5), forms(a=(["1 акк.", "1 аккум."], ["1 аккумулятор"], 1.0), b=(["2 акк.", "2 аккум."], ["2 аккумулятора"], 1.25))],
     ["в кейсе", "бесщёточная", "с подсветкой", "для дома и дачи", "хит продаж"], None),
    ("ru", "Инструмент", "Электроинструмент", 4100, ["УШМ", "Болгарка УШМ"], ["Угловая шлифмашина (УШМ)", "Шлифмашина угловая УШМ"],
     [WATT(850, 1100, 1400), measure(["{n}мм", "д.{n}"], ["диск {n} мм", "{n} мм"], 115, 125, power=0.5)], ["с регулировкой оборотов", "плавный пуск", "гарантия 3 года", "профессиональная"], None),
    ("ru", "Крепеж", "Крепёж и метизы", 190, ["Саморез п/дер.", "Саморез дерево"], ["Саморез по дереву", "Саморезы по дереву"],
     [forms(a=(["3,5х35", "3.5x35"], ["3,5x35 мм", "3,5 х 35 мм"], 1.0), b=(["3,5х41", "3.5x41"], ["3,5x41 мм", "3,5 х 41 мм"], 1.1), c=(["3,5х55", "3.5x55"], ["3,5x55 мм", "3,5 х 55 мм"], 1.3)),
      pieces("шт", 50, 200, 500), forms(o=(["оцинк."], ["оцинкованный"], 1.0), c=(["черн.", "чёрный"], ["чёрный"], 0.9))], ["потайная головка", "крупная резьба", "усиленный"], ["Крепыш", "Шаг"]),
    ("ru", "Свет", "Лампы и свет", 120, ["Лампа LED", "Лампа с/д"], ["Лампа светодиодная", "Светодиодная лампа"],
     [WATT(7, 10, 12, 15), measure(["{n}K"], ["{n} K"], 2700, 4000, 6500, power=0.0), plain("E27", "E14")], ["тёплый дом", "не мерцает", "аналог лампы накаливания", "энергосберегающая"], ["Луч", "Грань"]),
    ("ru", "Чай, кофе", "Продукты: чай и кофе", 210, ["Чай", "Чай пак."], ["Чай в пакетиках", "Чай пакетированный"],
     [forms(b=(["черный", "черн."], ["чёрный"], 1.0), g=(["зеленый", "зел."], ["зелёный"], 1.0)), pieces("пак", 25, 50, 100), plain("бергамот", "чабрец", "лимон")], ["отборный лист", "насыщенный вкус", "подарочный", "премиум"], ["Утро", "Сад"]),
    ("ru", "Чай, кофе", "Продукты: чай и кофе", 320, ["Кофе", "Кофе нат."], ["Кофе натуральный", "Кофе жареный"],
     [forms(z=(["зерно", "в зерн."], ["в зёрнах", "зерновой"], 1.0), m=(["молотый", "мол."], ["молотый"], 1.0)), GRAMS, forms(a=(["100% арабика"], ["арабика 100%"], 1.2), b=(["80% арабика"], ["арабика 80%"], 1.0))],
     ["свежая обжарка", "для турки и чашки", "мягкий вкус", "бестселлер"], ["Гранд", "Порт"]),
    ("en", "Monitors", "Displays", 310, ["monitor", "LED monitor"], ["LED Monitor", "Monitor"],
     [INCH(24, 27, 32), measure(["{n}Hz", "{n} hz"], ["{n} Hz", "{n}Hz refresh"], 75, 144, 165, power=0.2)], ["ultra slim", "eye care", "with HDMI", "frameless", "best for office"], None),
    ("en", "Audio", "Headphones & Audio", 89, ["headphones BT", "wireless headph."], ["Wireless Bluetooth Headphones", "Bluetooth Headphones"],
     [colours("black", "white", "red", "navy", "silver")], ["deep bass", "foldable", "30h playtime", "with microphone", "noise isolating"], None),
    ("en", "Storage", "Drives & Memory", 60, ["SSD", "SSD drive"], ["Solid State Drive", "Internal SSD"],
     [GB(128, 256, 512), forms(s=(["SATA"], ["SATA III", "SATA"], 1.0), n=(["NVMe"], ["M.2 NVMe", "NVMe"], 1.3))], ["high speed", "for laptop and PC", "5 year warranty", "shock resistant"], ["Swift", "Core"]),
    ("en", "Supplies", "Ink & Toner", 45, ["toner", "toner cart."], ["Toner Cartridge", "Replacement Toner Cartridge"],
     [colours("black", "cyan", "magenta", "yellow"), forms(x=(["XL"], ["XL", "size XL"], 1.7), s=(["std", "standard"], ["standard", "Standard"], 1.0))], ["compatible", "crisp prints", "easy install", "value"], None),
    ("en", "Cables", "Cables & Adapters", 12, ["cable HDMI", "HDMI cbl"], ["HDMI Cable", "High Speed HDMI Cable"],
     [METRES(1, 2, 3, 5), forms(a=(["v2.0", "ver. 2.0"], ["version 2.0"], 1.0), b=(["v2.1", "ver. 2.1"], ["version 2.1"], 1.5)), colours("black", "white")], ["gold plated", "braided", "tangle free", "4K ready"], ["Link", "Flex"]),
    ("en", "Beauty", "Hair & Body Care", 7, ["shampoo", "shamp."], ["Shampoo", "Hair Shampoo"],
     [OZ, forms(d=(["dry hair"], ["for dry hair"], 1.0), o=(["oily hair"], ["for oily hair"], 1.0), c=(["coloured hair"], ["for coloured hair"], 1.1))], ["nourishing", "sulfate free", "salon quality", "gentle"], ["Dew", "Herb"]),
    ("en", "Power", "Batteries", 6, ["battery alk.", "alkaline batt."], ["Alkaline Batteries", "Long Life Alkaline Batteries"],
     [plain("AA", "AAA"), pieces("pk", 4, 8, 12, 24)], ["leak proof", "10 year shelf life", "everyday power"], ["Max", "Plus"]),
    ("en", "Kitchen", "Home & Kitchen", 75, ["kettle el.", "electric kettle"], ["Electric Kettle", "Kettle"],
     [measure(["{n}L", "{n}l"], ["{n} L", "{n} litre"], 1.2, 1.5, 1.7, power=0.5), colours("black", "white", "red", "silver")], ["fast boil", "auto shut-off", "BPA free", "stylish"], None),
]
BRANDS = {
    "ru": ["Лумира", "Ветлан", "Борсек", "Тамарикс", "Озерко", "Крутояр", "Искрома", "Пелагра", "Сороград", "Мелькор", "Дивногор", "Ярсил", "Волнец", "Гардис", "Тульмир", "Свеньга", "Рудонит", "Кавелла"],
    "en": ["Norvik", "Talmera", "Ozelo", "Brunfeld", "Kestrix", "Veldan", "Quorra", "Hapsen", "Mirovo", "Strandt", "Elkora", "Zimbri", "Pavorn", "Lunexa", "Drovik", "Sabrend", "Ontelle", "Fjorda"],
}


def new_code(rng):
    letters = "ABCDEFGHKLMNPRSTVX"
    return "".join(rng.choice(letters) for _ in range(2)) + "-" + str(rng.randint(12, 98) * 10) + rng.choice(letters)


def new_line(rng, kind):
    """A line's name: an ordinary word and an invented one, such as "Софт Ревона"."""
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
