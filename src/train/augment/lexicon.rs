//! Units and colours of product texts, Russian and English, lower case, `ё` as `е`.

/// Units that stand in for each other, with their size in the family's smallest. Families of one are known, not exchanged.
const UNITS: &[&[(&str, u32)]] = &[
    &[("мл", 1), ("л", 1000)],
    &[("мг", 1), ("г", 1000), ("кг", 1_000_000)],
    &[("мм", 1), ("см", 10), ("м", 1000)],
    &[("мб", 1), ("гб", 1000), ("тб", 1_000_000)],
    &[("вт", 1), ("квт", 1000)],
    &[("ml", 1), ("l", 1000)],
    &[("mg", 1), ("g", 1000), ("kg", 1_000_000)],
    &[("mm", 1), ("cm", 10), ("m", 1000)],
    &[("mb", 1), ("gb", 1000), ("tb", 1_000_000)],
    &[("w", 1), ("kw", 1000)],
    &[("mhz", 1), ("ghz", 1000)],
    &[("oz", 1), ("lb", 16)],
    &[("in", 1), ("ft", 12)],
];

/// Units that are never exchanged.
const ALONE: &[&str] = &[
    "шт",
    "уп",
    "рул",
    "пар",
    "мп",
    "ач",
    "в",
    "а",
    "гц",
    "мин",
    "ч",
    "дюйм",
    "дюймов",
    "pcs",
    "pc",
    "pack",
    "ct",
    "mp",
    "megapixel",
    "megapixels",
    "v",
    "ah",
    "mah",
    "hz",
    "inch",
    "inches",
    "min",
    "hr",
    "x",
    "х",
];

/// A colour in its four nominative forms: masculine, feminine, neuter, plural.
const COLOURS_RU: &[[&str; 4]] = &[
    ["белый", "белая", "белое", "белые"],
    ["черный", "черная", "черное", "черные"],
    ["красный", "красная", "красное", "красные"],
    ["синий", "синяя", "синее", "синие"],
    ["зеленый", "зеленая", "зеленое", "зеленые"],
    ["желтый", "желтая", "желтое", "желтые"],
    ["серый", "серая", "серое", "серые"],
    ["коричневый", "коричневая", "коричневое", "коричневые"],
    ["голубой", "голубая", "голубое", "голубые"],
    ["розовый", "розовая", "розовое", "розовые"],
    ["фиолетовый", "фиолетовая", "фиолетовое", "фиолетовые"],
    ["оранжевый", "оранжевая", "оранжевое", "оранжевые"],
    ["бежевый", "бежевая", "бежевое", "бежевые"],
    ["бирюзовый", "бирюзовая", "бирюзовое", "бирюзовые"],
    ["бордовый", "бордовая", "бордовое", "бордовые"],
    ["серебристый", "серебристая", "серебристое", "серебристые"],
    ["золотистый", "золотистая", "золотистое", "золотистые"],
    ["бесцветный", "бесцветная", "бесцветное", "бесцветные"],
];

/// Colours named by their wood.
const SHADES_RU: &[&str] = &["сосна", "орех", "дуб", "тик", "вишня", "венге", "палисандр", "махагон", "кедр", "рябина"];

const COLOURS_EN: &[&str] = &[
    "white",
    "black",
    "red",
    "blue",
    "green",
    "yellow",
    "gray",
    "brown",
    "pink",
    "purple",
    "orange",
    "beige",
    "silver",
    "gold",
    "bronze",
    "turquoise",
    "maroon",
    "navy",
    "ivory",
    "charcoal",
];

/// What shops add to a name without meaning another product.
pub(super) fn praise(russian: bool) -> &'static [&'static str] {
    match russian {
        true => &[
            "новинка",
            "в наличии",
            "с доставкой",
            "высокое качество",
            "для дома",
            "для дома и дачи",
            "профессиональный",
            "оригинал",
            "хит продаж",
            "быстрый эффект",
            "удобная упаковка",
            "экономичный расход",
            "с гарантией",
            "надёжный",
            "с ароматом свежести",
            "безопасный состав",
            "быстрая доставка",
            "подходит для ежедневного применения",
            "легко смывается",
            "усиленная формула",
            "в комплекте",
            "сделано в России",
            "гарантия качества",
            "для офиса",
            "от производителя",
            "долговечный",
            "готов к работе",
            "с инструкцией",
            "для профессионалов",
            "акция",
            "выгодная цена",
            "гарантия 12 месяцев",
            "гарантия 2 года",
            "до 300 применений",
            "скидка 20%",
            "срок годности 36 месяцев",
        ],
        false => &[
            "new",
            "genuine",
            "original",
            "high quality",
            "in stock",
            "free shipping",
            "with warranty",
            "best seller",
            "for home and office",
            "professional grade",
            "easy to use",
            "durable",
            "premium",
            "retail pack",
            "lightweight",
            "compact",
            "easy setup",
            "best price",
            "top rated",
            "limited offer",
            "great value",
            "includes manual",
            "energy saving",
            "for everyday use",
            "fast delivery",
            "sleek design",
            "long lasting",
            "heavy duty",
            "official",
            "sale",
            "2 year warranty",
            "24 month guarantee",
            "up to 40 hours",
            "20% off",
            "24/7 support",
        ],
    }
}

/// True for a unit of measure.
pub(super) fn is_unit(word: &str) -> bool {
    ALONE.contains(&word) || family(word).is_some()
}

/// The other units of a unit's family, with how many of this one they hold.
pub(super) fn other_units(word: &str) -> Vec<(&'static str, f64)> {
    let Some((family, size)) = family(word) else { return Vec::new() };
    let others = family.iter().filter(|(name, _)| *name != word);
    others.map(|&(name, other)| (name, f64::from(other) / f64::from(size))).collect()
}

fn family(word: &str) -> Option<(&'static [(&'static str, u32)], u32)> {
    UNITS.iter().find_map(|family| family.iter().find(|u| u.0 == word).map(|u| (*family, u.1)))
}

/// The same grammatical form of the other colours; empty for a word that is no colour.
pub(super) fn other_colours(word: &str) -> Vec<&'static str> {
    for colour in COLOURS_RU {
        if let Some(form) = colour.iter().position(|c| *c == word) {
            return COLOURS_RU.iter().map(|c| c[form]).filter(|c| *c != word).collect();
        }
    }
    let word = if word == "grey" { "gray" } else { word };
    match [SHADES_RU, COLOURS_EN].into_iter().find(|list| list.contains(&word)) {
        Some(list) => list.iter().copied().filter(|c| *c != word).collect(),
        None => Vec::new(),
    }
}
