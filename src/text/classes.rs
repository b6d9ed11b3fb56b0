//! Words that exclude each other: a product is not black and white, not for dry hair and for oily.
//!
//! A short list of what shops' siblings differ in, Russian and English. A class holds values, a value its words; they are compared
//! by stem, so `белая` is `белый`. Refused: brands and product types (endless, and the model's matter).

use std::collections::HashMap;
use std::sync::LazyLock;

use super::near::stem;

/// Classes, values between semicolons, words of a value between spaces.
const CLASSES: &[&str] = &[
    "белый бел белая; черный черн черная; красный красн; синий; зеленый зел; серый сер; коричневый коричн; бежевый беж; розовый; \
     желтый; голубой; фиолетовый; оранжевый; бирюзовый; бордовый; золотистый; серебристый; прозрачный прозр прозрачн бесцветный; \
     графит",
    "black blk; white wht; silver slv; red; blue; green; pink; grey gray; navy; gold; beige; magenta; cyan; yellow; brown; purple; \
     bronze; ivory; turquoise; maroon; charcoal",
    "лимон лимонный; яблоко яблочный; лаванда лавандовый; мята мятный; алоэ; ромашка; апельсин апельсиновый; клубника клубничный; \
     ваниль ванильный; кокос кокосовый; бергамот; чабрец; малина малиновый; вишня вишневый; роза; персик; цитрус",
    "lemon; apple; lavender; mint peppermint; vanilla; strawberry; coconut; cherry; peach; aloe; rose; jasmine; chamomile",
    "цветного цветных; белого белых; черного черных темных; шерсти; детского детских",
    "сухих сухие; жирных жирные; нормальных нормальные; окрашенных окрашенные",
    "dry; oily; normal; coloured colored; curly",
    "матовый матовая матов; глянцевый глянцевая глянц; полуматовый полуматовая; перламутровый",
    "matte matt; glossy gloss; satin",
    "молотый молот; зерно зерновой зерн зернах; растворимый; капсулы капсулах",
    "санитарный санитарн сан; универсальный универс унив; морозостойкий; термостойкий",
    "оцинкованный оцинк; латунный латунь; нержавеющий нерж; фосфатированный",
    "левый левая; правый правая",
    "left; right",
    "мужской муж мужчин; женский жен женщин; детский дет детей",
    "men mens; women womens; kids children",
    "проводной; беспроводной беспров; аккумуляторный",
    "wired corded; wireless cordless",
    "внутренний внутренних; наружный наружных; фасадный фасадных",
    "indoor; outdoor",
    "sata; nvme; ide; scsi; firewire",
    "windows; mac macintosh; linux",
    "plasma; lcd; oled",
];

/// Class and value of a word's stem; a word may stand in more than one class.
static VALUES: LazyLock<HashMap<String, Vec<(u8, u8)>>> = LazyLock::new(|| {
    let mut values: HashMap<String, Vec<(u8, u8)>> = HashMap::new();
    for (class, text) in CLASSES.iter().enumerate() {
        for (value, words) in text.split(';').enumerate() {
            for word in words.split_whitespace() {
                let of = values.entry(stem(word)).or_default();
                if !of.contains(&(class as u8, value as u8)) {
                    of.push((class as u8, value as u8));
                }
            }
        }
    }
    values
});

/// The classes of a stem.
pub(super) fn classes(stem: &str) -> &'static [(u8, u8)] {
    VALUES.get(stem).map_or(&[], Vec::as_slice)
}

/// Whether two words are different values of one class.
pub(super) fn exclude(a: &[(u8, u8)], b: &[(u8, u8)]) -> bool {
    a.iter().any(|x| b.iter().any(|y| x.0 == y.0 && x.1 != y.1)) && !a.iter().any(|x| b.contains(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_class_exclude_each_other() {
        for (a, b, is) in [
            ("белая", "черный", true),
            ("белая", "белый", false),
            ("blk", "white", true),
            ("black", "blk", false),
            ("лимон", "яблоко", true),
            ("sata", "nvme", true),
            ("dry", "oily", true),
            ("dry", "black", false),
            ("зернах", "молотый", true),
            ("зерновой", "зернах", false),
            ("гель", "черный", false),
        ] {
            assert_eq!(exclude(classes(&stem(a)), classes(&stem(b))), is, "{a} {b}");
        }
    }
}
