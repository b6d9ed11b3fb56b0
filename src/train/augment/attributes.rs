//! What tells siblings of a shop's shelf apart beside numbers and codes: a scent, a surface, an interface, who it is for.
//!
//! Real lists of matches hold few of these, so made pairs are given one. A class holds values that exclude each other, a value
//! the ways in which shops write it.

use rand::Rng;

use super::draws::{below, pick};
use super::words::folded;

/// Values by class; the forms of a value stand between bars.
type Classes = &'static [&'static [&'static str]];

const RU: Classes = &[
    &[
        "белый|бел.|белого цвета|цвет белый",
        "черный|чёрный|черн.|чёрного цвета|цвет чёрный",
        "красный|красн.|цвет красный|красного цвета",
        "синий|син.|цвет синий|синего цвета",
        "зелёный|зел.|зеленый|цвет зелёный",
        "серый|сер.|серого цвета|цвет серый",
        "коричневый|коричн.|кор.|цвет коричневый",
        "бежевый|беж.|цвет бежевый|бежевого цвета",
        "прозрачный|прозр.|прозрачн.|бесцветный",
        "розовый|роз.|цвет розовый|розового цвета",
        "золотистый|золот.|цвет золотистый",
        "графит|графитовый|цвет графит",
    ],
    &[
        "лимон|лимонный|с ароматом лимона",
        "яблоко|яблочный|с ароматом яблока",
        "лаванда|лаванд.|с ароматом лаванды|аромат лаванды",
        "мята|мятный|с мятой",
        "алоэ|алоэ вера|с алоэ",
        "ромашка|с ромашкой|экстракт ромашки",
        "апельсин|апельсиновый|со вкусом апельсина",
        "клубника|клубничный|вкус клубники",
        "ваниль|ванильный|ванильн.",
        "кокос|кокосовый|с кокосом",
        "бергамот|с бергамотом|аромат бергамота",
        "чабрец|с чабрецом",
        "малина|малиновый|с малиной",
        "морская свежесть|океан|морской",
        "без запаха|без отдушки|без ароматизаторов",
    ],
    &[
        "для кухни|д/кухни|кухонный",
        "для ванной|д/ванной|для ванной комнаты",
        "для пола|д/пола|для полов",
        "для стекол|д/стекол|для окон",
    ],
    &["для мужчин|мужской|муж.|д/мужчин", "для женщин|женский|жен.|д/женщин", "для детей|детский|дет.|д/детей"],
    &[
        "для цветного|д/цветного|для цветных тканей",
        "для белого|д/белого|для белых тканей",
        "для чёрного|д/черного|для тёмных тканей",
        "для шерсти|д/шерсти|для деликатных тканей",
    ],
    &[
        "для сухих|д/сухих|сухие",
        "для жирных|д/жирных|жирные",
        "для нормальных|д/нормальных|нормальные",
        "для окрашенных|д/окрашенных|окрашенные",
    ],
    &[
        "матовый|матов.|мат.|матовая",
        "глянцевый|глянц.|гл.|глянцевая",
        "полуматовый|п/мат.|полуматовая",
        "перламутровый|перлам.|перламутр",
    ],
    &[
        "молотый|молот.|мол.|помол средний",
        "в зёрнах|зерновой|зерно|в зернах",
        "растворимый|раств.|растворим.",
        "в капсулах|капсулы|капсульный",
    ],
    &[
        "санитарный|санит.|сан.",
        "универсальный|универс.|унив.",
        "морозостойкий|морозост.",
        "высокотемпературный|термостойкий|термост.",
    ],
    &[
        "оцинкованный|оцинк.|цинк|оцинкованная",
        "латунный|латунь|латун.",
        "нержавеющий|нерж.|нержавейка|из нержавеющей стали",
        "пластиковый|пластик|пласт.",
        "деревянный|дерево|дерев.",
        "фосфатированный|фосф.|чёрный фосфат",
    ],
    &["левый|лев.|левая", "правый|прав.|правая"],
    &["горячий|гор.|для горячей воды", "холодный|хол.|для холодной воды"],
    &["зимний|зима|зимн.", "летний|лето|летн.", "всесезонный|всесез.|демисезонный"],
    &[
        "проводной|провод.|с проводом",
        "беспроводной|беспров.|без провода",
        "аккумуляторный|аккум.|акк.",
        "сетевой|от сети|220 В сеть",
    ],
    &["внутренний|внутр.|для внутренних работ", "наружный|наруж.|для наружных работ", "фасадный|фасадн.|для фасада"],
    &["стартовый|старт.|стартовая", "финишный|финиш.|финишная"],
    &["быстросохнущий|быстросох.|быстрого высыхания", "медленный|медлен.|медленного отверждения"],
    &["сладкий|слад.", "солёный|солен.|с солью", "острый|остр.|острая"],
    &["цоколь E27|E27|е27", "цоколь E14|E14|е14", "GU10|цоколь GU10", "GX53|цоколь GX53"],
    &["тёплый свет|теплый|тёпл.", "холодный свет|холодный белый|хол. свет", "нейтральный свет|нейтральный|нейтр."],
    &[
        "чистящее средство|средство для чистки|чист. средство",
        "гель для душа|средство для душа|душ-гель",
        "стиральный порошок|порошок для стирки|порошок стир.",
        "жидкое мыло|мыло жидкое|крем-мыло",
        "кондиционер для белья|ополаскиватель для белья|смягчитель",
        "пятновыводитель|средство от пятен|удалитель пятен",
        "освежитель воздуха|ароматизатор воздуха|освежитель",
        "шампунь|средство для мытья волос|шамп.",
    ],
    &[
        "краска|эмаль|лакокрасочный состав",
        "грунтовка|грунт|грунтовочный состав",
        "шпатлёвка|шпаклевка|шпатл.",
        "клей|клеевой состав|клей монтажный",
        "лак|лак защитный|лаковый состав",
    ],
    &[
        "перфоратор|дрель-перфоратор|перф.",
        "лобзик|электролобзик|пила лобзиковая",
        "отвёртка|отвертка|отв.",
        "шуруповёрт|шуруповерт|дрель-шуруповёрт",
        "рубанок|электрорубанок|рубанок электр.",
    ],
];

const EN: Classes = &[
    &[
        "black|blk|in black|blck",
        "white|wht|in white|wh",
        "silver|slv|in silver",
        "red|in red|rd",
        "blue|in blue|blu",
        "green|grn|in green",
        "pink|in pink|pnk",
        "grey|gray|gry|in grey",
        "navy|navy blue|dark blue",
        "gold|in gold|gld",
        "beige|in beige",
        "magenta|in magenta|mag",
        "cyan|in cyan",
        "yellow|yel|in yellow",
    ],
    &[
        "lemon|lemon scent|citrus lemon",
        "lavender|lavender scent|lav.",
        "mint|peppermint|fresh mint",
        "vanilla|vanilla flavour|van.",
        "strawberry|strawberry flavor|strawb.",
        "coconut|coconut scent",
        "unscented|fragrance free|no scent",
        "aloe|aloe vera|with aloe",
        "orange flavour|orange|orange flavored",
        "green tea|with green tea",
    ],
    &[
        "SATA|sata|SATA III|serial ATA",
        "NVMe|nvme|M.2 NVMe|PCIe NVMe",
        "IDE|ide|ATA-100",
        "SCSI|scsi|Ultra320 SCSI",
        "USB|usb|USB 2.0 interface",
        "FireWire|firewire|IEEE 1394",
    ],
    &["wired|corded|with cable", "wireless|wrls|cordless|bluetooth|BT"],
    &["left|left hand|LH", "right|right hand|RH"],
    &["matte|matt|matte finish", "glossy|gloss|high gloss|gloss finish", "satin|satin finish|semi-gloss"],
    &["standard|std|regular|standard yield", "XL|size XL|extra large|high yield XL", "mini|small|compact size"],
    &["for men|mens|men's", "for women|womens|women's", "for kids|kids|children's"],
    &[
        "dry hair|for dry hair|dry",
        "oily hair|for oily hair|oily",
        "normal hair|for normal hair",
        "coloured hair|for coloured hair|color treated",
        "curly hair|for curly hair",
    ],
    &[
        "full version|full|complete product",
        "upgrade|upg|upgrade version",
        "trial|trial version",
        "academic|student edition|education",
    ],
    &[
        "home|home edition|home ed.",
        "professional|pro|prof. edition",
        "enterprise|enterprise edition",
        "premium|premium edition|prem.",
    ],
    &["Windows|win|for Windows|PC", "Mac|for Mac|macintosh|Mac OS", "Linux|for Linux"],
    &["DDR2|ddr2|DDR2 memory", "DDR3|ddr3|DDR3 memory", "DDR4|ddr4|DDR4 memory"],
    &["AA|AA size|size AA", "AAA|AAA size|size AAA", "C size|size C", "D size|size D", "9V|9 volt block"],
    &["indoor|for indoor use|indoors", "outdoor|for outdoor use|outdoors"],
    &["top load|top loading", "front load|front loading"],
    &["gas|natural gas|gas powered", "electric|elec.|electrical"],
    &["UK plug|UK", "US plug|US", "EU plug|EU"],
    &["plasma|plasma screen", "LCD|LCD screen|liquid crystal", "OLED|OLED screen"],
    &["ground|grnd|ground coffee", "whole bean|beans|whole beans", "capsules|pods|caps"],
    &[
        "version 1.0|v1.0|ver. 1.0",
        "version 1.1|v1.1|ver. 1.1",
        "version 2.0|v2.0|ver. 2.0|2.0",
        "version 2.1|v2.1|ver. 2.1|2.1",
        "version 3.0|v3.0|ver. 3.0|3.0",
    ],
    &[
        "monitor|display|LCD monitor|screen",
        "hard drive|HDD|hard disk|hard disk drive",
        "solid state drive|SSD|SSD drive|internal SSD",
        "headphones|headph.|headset|over-ear headphones",
        "keyboard|kbd|desktop keyboard",
        "memory card|flash card|mem. card",
        "speaker|speakers|loudspeaker",
        "router|wireless router|wifi router",
        "charger|power adapter|AC adapter",
        "cable|cbl|cord|lead",
        "case|carrying case|cover",
    ],
    &[
        "refrigerator|fridge|refrig.",
        "kettle|electric kettle|kettle el.|cordless kettle",
        "vacuum cleaner|vacuum|vac",
        "microwave|microwave oven|mw oven",
        "shampoo|shamp.|hair shampoo|hair wash",
        "conditioner|cond.|hair conditioner",
        "batteries|battery|batt.|battery cells",
        "toner|toner cartridge|toner cart.|print cartridge",
    ],
];

/// The same value for both sides in forms of their own, or two values of one class; none where the texts have one already.
pub(super) fn draw(russian: bool, text: &str, same: bool, rng: &mut impl Rng) -> Option<[&'static str; 2]> {
    let class = *pick(if russian { RU } else { EN }, rng)?;
    let text = format!(" {} ", folded(text));
    let stands = |form: &str| text.contains(&format!(" {}", folded(form.trim_end_matches('.'))));
    if class.iter().flat_map(|value| value.split('|')).any(stands) {
        return None;
    }
    let one = below(rng, class.len());
    let other = if same { one } else { (one + 1 + below(rng, class.len() - 1)) % class.len() };
    let mut form = |value: usize| {
        let forms: Vec<&str> = class[value].split('|').collect();
        pick(&forms, rng).copied()
    };
    Some([form(one)?, form(other)?])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::tests::rng;
    use super::*;

    #[test]
    fn values_of_a_class_exclude_each_other() {
        for class in RU.iter().chain(EN) {
            let forms: Vec<String> = class.iter().flat_map(|value| value.split('|')).map(folded).collect();
            assert!(class.len() >= 2 && forms.iter().all(|form| !form.trim().is_empty()));
            let of = |value: &str| value.split('|').map(folded).collect::<HashSet<_>>();
            for (i, a) in class.iter().enumerate() {
                assert!(class[..i].iter().all(|b| of(a).is_disjoint(&of(b))), "{class:?}");
            }
        }
    }

    #[test]
    fn a_value_for_both_or_two_of_one_class() {
        let value = |form: &str| {
            let all = RU.iter().chain(EN).flat_map(|class| class.iter());
            all.filter(|value| value.split('|').any(|f| f == form))
                .map(|value| value.to_string())
                .collect::<HashSet<_>>()
        };
        let mut seen = HashSet::new();
        for seed in 0..400 {
            let [a, b] = draw(seed % 2 == 0, "гель 5 л", true, &mut rng(seed)).unwrap();
            assert!(!value(a).is_disjoint(&value(b)), "{a} {b}");
            seen.insert(a);
            let [a, b] = draw(seed % 2 == 0, "гель 5 л", false, &mut rng(seed)).unwrap();
            assert!(a != b, "{a}");
        }
        assert!(seen.len() > 100);
        let colour = |[a, _]: [&'static str; 2]| a.contains("красн") || a.contains("коричн");
        assert!((0..400).filter_map(|seed| draw(true, "Эмаль Белая", true, &mut rng(seed))).all(|two| !colour(two)));
    }
}
