//! The field's layouts for ranking, read, written, and refused with their line.

use std::path::PathBuf;

use super::*;
use crate::records::{Judgement, Pair, PairSet, Query, Record, Split};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn judgement(query: &str, document: &str, grade: f32) -> Judgement {
    Judgement { query: query.into(), document: document.into(), grade }
}

fn document(id: &str, title: &str, text: &str) -> Record {
    Record { id: id.into(), columns: ["title".into(), "text".into()].into(), values: vec![title.into(), text.into()] }
}

fn query(id: &str, text: &str) -> Query {
    Query { id: id.into(), text: text.into() }
}

fn small() -> Collection {
    Collection {
        documents: vec![document("d1", "Lamps", "a lamp\nof glass"), document("d2", "", "a \"chair\"")],
        queries: vec![query("q1", "лампа"), query("q2", "seat")],
        judgements: vec![
            (judgement("q1", "d1", 2.0), Some(Split::Train)),
            (judgement("q2", "d1", 0.0), Some(Split::Test)),
            (judgement("q2", "d2", 1.0), Some(Split::Test)),
        ],
    }
}

/// What a pair says: texts of both sides, grade, split.
fn said(set: &PairSet, pair: &Pair) -> (String, String, Option<f32>, Option<Split>) {
    let (left, right, _) = set.sides(pair);
    (left.values.join("|"), right.values.join("|"), pair.grade, pair.split)
}

fn fails<T: std::fmt::Debug>(read: Result<T>, parts: &[&str]) {
    let said = read.unwrap_err().to_string();
    assert!(parts.iter().all(|part| said.contains(part)) && said.contains("; "), "{parts:?}: {said}");
}

#[test]
fn beirs_folder_comes_back_as_it_was_written() {
    let folder = Folder::new();
    let dir = folder.path("set");
    write_beir(&dir, &small()).unwrap();
    assert_eq!(read_beir(&dir).unwrap().0, small());
    assert!(matches!(write_beir(&dir, &small()), Err(Error::Exists(_))));
    let source = detect(&dir, &ReadOptions::default()).unwrap();
    assert_eq!(source, Source::Beir { dir: dir.clone() });
    let (set, _) = read_pairs(&source, &ReadOptions::default()).unwrap();
    let pairs: Vec<_> = set.pairs.iter().map(|pair| said(&set, pair)).collect();
    assert_eq!(pairs[0], ("лампа".into(), "Lamps|a lamp\nof glass".into(), Some(1.0), Some(Split::Train)));
    assert_eq!((pairs.len(), pairs[1].2), (3, Some(0.0)));
    std::fs::remove_file(dir.join("qrels/test.tsv")).unwrap();
    assert_eq!(read_beir(&dir).unwrap().0.judgements.len(), 1);
    std::fs::remove_file(dir.join("qrels/train.tsv")).unwrap();
    fails(read_beir(&dir), &["qrels", "no judgements"]);
}

#[test]
fn beirs_broken_lines_are_named() {
    let folder = Folder::new();
    folder.write("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\td\t1\nq\tlost\t1\n");
    folder.write("queries.jsonl", "{\"_id\": \"q\", \"text\": \"x\"}\n");
    let dir = folder.0.path();
    for (corpus, parts) in [
        (
            "{\"_id\": \"d\", \"text\": \"x\"}\n{\"_id\": \"d\", \"text\": \"y\"}\n",
            &["corpus.jsonl:2", "id d", "second time"][..],
        ),
        ("{\"_id\": \"d\", \"text\": \"x\"}\n{\"_id\": \"e\", \"te", &["corpus.jsonl:2", "not a JSON object"]),
        ("{\"text\": \"x\"}\n", &["corpus.jsonl:1", "no key _id"]),
        ("{\"_id\": \"d\", \"body\": \"x\"}\n", &["corpus.jsonl", "no column `text`"]),
    ] {
        folder.write("corpus.jsonl", corpus);
        fails(read_beir(dir), parts);
    }
    folder.write("corpus.jsonl", "{\"_id\": \"d\", \"text\": \"x\"}\n");
    let (set, report) = read_beir(dir).unwrap().0.pairs(dir).unwrap();
    assert_eq!(set.pairs.len(), 1);
    assert!(report.notes[0].contains("1 judgement is of a query or a document that is not there"), "{report:?}");
    folder.write("corpus.jsonl", "{\"_id\": \"other\", \"text\": \"x\"}\n");
    fails(read_beir(dir).unwrap().0.pairs(dir), &["belong together"]);
}

#[test]
fn ms_marcos_files_and_triples() {
    let folder = Folder::new();
    let collection = folder.write("collection.tsv", "7\tsome text, \"quoted\n8\tother text\n");
    let queries = folder.write("queries.dev.tsv", "1\twhat is it\n");
    let qrels = folder.write("qrels.dev.tsv", "1\t0\t8\t1\n");
    let parts = Parts { valid: Some(qrels.clone()), ..Parts::default() };
    let source = Source::MsMarco { collection: collection.clone(), queries: vec![queries.clone()], qrels: parts };
    let (set, _) = read_pairs(&source, &ReadOptions::default()).unwrap();
    let expected = ("what is it".into(), "other text".into(), Some(1.0), Some(Split::Valid));
    assert_eq!(set.pairs.iter().map(|pair| said(&set, pair)).collect::<Vec<_>>(), [expected]);
    assert_eq!(set.right[0].values, ["some text, \"quoted"]);
    let documents = folder.write("docs.tsv", "D1\thttp://x\tA title\ta body\n");
    let (read, _) = read_ms_marco(&documents, &[&queries], &[]).unwrap();
    assert_eq!(read.documents, [document("D1", "A title", "a body")]);
    let torn = folder.write("torn.tsv", "7\tsome text\n8\n");
    fails(read_ms_marco(&torn, &[&queries], &[]), &["torn.tsv:2", "1 column, not 2"]);
    let mixed = folder.write("mixed.tsv", "7\tsome text\n8\tu\tt\tb\n");
    fails(read_ms_marco(&mixed, &[&queries], &[]), &["mixed.tsv:2", "4 columns", "as in the lines before"]);
    let again = folder.path("again.tsv.gz");
    write_queries(&again, &[query("1", "a\tb\nc")]).unwrap();
    assert_eq!(read_queries(&again).unwrap().0, [query("1", "a b c")]);
    for collection in [&collection, &documents] {
        let (read, _) = read_ms_marco(collection, &[&queries], &[]).unwrap();
        let written = folder.path("written.tsv");
        write_documents(&written, &read.documents).unwrap();
        assert_eq!(read_ms_marco(&written, &[&queries], &[]).unwrap().0.documents, read.documents);
        std::fs::remove_file(written).unwrap();
    }
    let triple = |q: &str, p: &str, n: &str| Triple { query: q.into(), positive: p.into(), negative: n.into() };
    let triples = folder.write("triples.tsv", "a q\tyes\tno\nb q\tja\tnein\n");
    assert_eq!(read_triples(&triples, 1).unwrap().0, [triple("a q", "yes", "no")]);
    let written = folder.path("written.tsv");
    write_triples(&written, &[triple("a\tq", "yes", "no")]).unwrap();
    assert_eq!(read_triples(&written, 9).unwrap().0, [triple("a q", "yes", "no")]);
    let ids = folder.write("ids.jsonl", "[1, \"2\", 3]\n");
    assert_eq!(read_triples(&ids, 9).unwrap().0, [triple("1", "2", "3")]);
    fails(read_triples(&folder.write("bad.jsonl", "[1, 2]\n"), 9), &["bad.jsonl:1", "three ids"]);
}

#[test]
fn cedrs_folds_have_their_splits_and_grades() {
    let folder = Folder::new();
    let data = folder.write("data.tsv", "query\tq1\tfirst\ndoc\td1\tone\ndoc\td2\ttwo\nquery\tq2\tsecond\n");
    let qrels = folder.write("qrels", "q1 0 d1 1\nq2 0 d2 1\n");
    let files = CedrFiles {
        datafiles: vec![data.clone()],
        qrels,
        train_pairs: Some(folder.write("f1.train.pairs", "q1\td1\nq1\td2\n")),
        valid_run: None,
        test_run: Some(folder.write("f1.test.run", "q2 Q0 d1 1 9 x\nq2 Q0 d2 2 8 x\n")),
    };
    let (read, _) = read_cedr(&files).unwrap();
    let (train, test) = (Some(Split::Train), Some(Split::Test));
    let expected =
        [("q1", "d1", 1.0, train), ("q1", "d2", 0.0, train), ("q2", "d1", 0.0, test), ("q2", "d2", 1.0, test)];
    assert_eq!(read.judgements, expected.map(|(q, d, grade, split)| (judgement(q, d, grade), split)));
    let (plain, _) = read_cedr(&CedrFiles { train_pairs: None, test_run: None, ..files.clone() }).unwrap();
    assert_eq!(plain.judgements, [("q1", "d1"), ("q2", "d2")].map(|(q, d)| (judgement(q, d, 1.0), None)));
    let again = folder.path("again.tsv");
    write_cedr(&again, &small()).unwrap();
    let (back, _) = read_cedr(&CedrFiles { datafiles: vec![again], ..files.clone() }).unwrap();
    assert_eq!(back.queries, small().queries);
    assert_eq!(back.documents[0].values, ["Lamps a lamp of glass"]);
    let bad = folder.write("bad.tsv", "query\tq1\tx\npassage\td1\ty\n");
    fails(
        read_cedr(&CedrFiles { datafiles: vec![bad], ..files }),
        &["bad.tsv:2", "`passage` is neither query nor doc"],
    );
}

#[test]
fn squads_paragraphs_are_documents() {
    let folder = Folder::new();
    let qa = |id: &str, more: &str| format!("{{\"id\": \"{id}\", \"question\": \"{id}?\", \"answers\": []{more}}}");
    let text = |first: &str| {
        format!(
            "{{\n \"data\": [{{\"title\": \"T\", \"paragraphs\": [{{\"context\": \"one\", \"qas\": [{first}]}},\n\
             {{\"context\": \"one\", \"qas\": [{}]}}]}}]}}",
            qa("b", "")
        )
    };
    let path = folder.write("dev.json", &text(&(qa("a", "") + "," + &qa("x", ", \"is_impossible\": true"))));
    let (read, report) = read_squad(&[(&path, Some(Split::Valid))]).unwrap();
    assert_eq!(read.documents, [document("1", "T", "one")]);
    assert_eq!(read.queries, [query("a", "a?"), query("b", "b?")]);
    assert_eq!(read.judgements[1], (judgement("b", "1", 1.0), Some(Split::Valid)));
    assert!(report.notes[0].contains("1 question"), "{report:?}");
    assert_eq!(detect(&path, &ReadOptions::default()).unwrap(), {
        Source::Squad(Parts { valid: Some(path.clone()), ..Parts::default() })
    });
    fails(read_squad(&[(&folder.write("twice.json", &text(&qa("b", ""))), None)]), &["twice.json: the id b"]);
    fails(read_squad(&[(&folder.write("torn.json", &text("")[..60]), None)]), &["torn.json:2", "not SQuAD's JSON"]);
}

#[test]
fn paraphrasers_classes_are_grades() {
    let folder = Folder::new();
    let pair = |class: &str| {
        format!(
            "<paraphrase>\n<value name=\"id\">1</value><value name=\"id_1\">20</value><value name=\"id_2\">21</value>\n\
             <value name=\"text_1\">Рубль &amp; евро</value><value name=\"text_2\">&#1056;убль</value>\n\
             <value name=\"class\">{class}</value></paraphrase>\n"
        )
    };
    let file = |inner: &str| format!("<?xml version='1.0' encoding='UTF8'?>\n<data><corpus>{inner}</corpus></data>\n");
    let path = folder.write("train.xml", &file(&(pair("1") + &pair("0") + &pair("-1"))));
    let source = detect(&path, &ReadOptions::default()).unwrap();
    assert_eq!(source, Source::Paraphraser(Parts { train: Some(path), ..Parts::default() }));
    let (set, _) = read_pairs(&source, &ReadOptions::default()).unwrap();
    let expected = |grade| ("Рубль & евро".to_string(), "Рубль".to_string(), Some(grade), Some(Split::Train));
    assert_eq!(set.pairs.iter().map(|pair| said(&set, pair)).collect::<Vec<_>>(), [1.0, 0.5, 0.0].map(expected));
    assert_eq!((&*set.left[0].id, &*set.right[0].id), ("20", "21"));
    for (text, parts) in [
        (file(&pair("2")), &["x.xml:2", "class `2`"][..]),
        (file("<paraphrase>"), &["x.xml:2", "not well-formed"]),
        (file(""), &["x.xml", "no <paraphrase>"]),
    ] {
        let path = folder.write("x.xml", &text);
        let source = Source::Paraphraser(Parts { pairs: Some(path), ..Parts::default() });
        fails(read_pairs(&source, &ReadOptions::default()), parts);
    }
}

#[test]
fn sentence_pairs_have_scores_of_either_scale_or_labels() {
    let folder = Folder::new();
    for (text, grades) in [
        ("sentence1,sentence2,similarity_score\na,b,5.0\nc,\"d, e\",1.25\n", [1.0, 0.25]),
        ("text_a\ttext_b\tscore\na\tb\t1\nc\td, e\t0.5\n", [1.0, 0.5]),
        ("gold_label,premise,hypothesis\nentailment,a,b\nneutral,c,\"d, e\"\n", [1.0, 0.0]),
        ("question1,question2,is_duplicate\na,b,yes\nc,\"d, e\",no\n", [1.0, 0.0]),
    ] {
        let path = folder.write("pairs.csv", text);
        let source = detect(&path, &ReadOptions::default()).unwrap();
        assert!(matches!(source, Source::SentencePairs(_)), "{text}");
        let (set, _) = read_pairs(&source, &ReadOptions::default()).unwrap();
        assert_eq!(set.pairs.iter().map(|pair| pair.grade.unwrap()).collect::<Vec<_>>(), grades, "{text}");
        assert_eq!(set.right[1].values, ["d, e"]);
    }
    let path = folder.write("bad.csv", "sentence1,sentence2,score\na,b,1\na,b,much\n");
    let source = Source::SentencePairs(Parts { pairs: Some(path), ..Parts::default() });
    fails(read_pairs(&source, &ReadOptions::default()), &["bad.csv:3: column score", "`much` is no score"]);
    let (set, report) = read_pairs(&source, &ReadOptions { skip_bad_rows: true, ..ReadOptions::default() }).unwrap();
    assert_eq!((set.pairs.len(), report.skipped), (1, 1));
}

#[test]
fn topics_come_in_three_layouts() {
    let folder = Folder::new();
    let sgml = "<top>\n<num> Number: 301\n<title> International\n Organized Crime\n\n<desc> Description:\nIdentify it.\n\
                <narr> Narrative:\nAll.\n</top>\n\n<top>\n<num> Number: 302 \n<title> Topic: Polio\n<desc> Is it gone?\n</top>\n";
    let path = folder.write("topics.txt", sgml);
    let titles = [query("301", "International Organized Crime"), query("302", "Polio")];
    assert_eq!(read_topics(&path, "title").unwrap().0, titles);
    assert_eq!(read_topics(&path, "desc").unwrap().0, [query("301", "Identify it."), query("302", "Is it gone?")]);
    fails(read_topics(&path, "narr"), &["topics.txt:12", "without <narr>"]);
    let web = "<?xml version=\"1.0\"?>\n<webtrack>\n<topic number=\"1\" type=\"faceted\"><query>obama &amp; co</query>\
               <description>d</description></topic></webtrack>";
    assert_eq!(read_topics(&folder.write("web.xml", web), "title").unwrap().0, [query("1", "obama & co")]);
    for name in ["out.txt", "out.gz"] {
        write_topics(&folder.path(name), &titles).unwrap();
        assert_eq!(read_topics(&folder.path(name), "title").unwrap().0, titles);
    }
    for (name, text) in
        [("q.tsv", "301\tcrime\n"), ("q.jsonl", "{\"_id\": \"301\", \"text\": \"crime\"}\n"), ("q.txt", "301\tcrime")]
    {
        assert_eq!(read_query_texts(&folder.write(name, text)).unwrap().0, [query("301", "crime")], "{name}");
    }
}
